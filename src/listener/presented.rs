//! The certificate that a listener shows, read again when its files change. A broken new file leaves the old one in use and says so.

use crate::{
    config::{Listener, TlsFiles, TlsMaterial},
    mail::Name,
    tls,
};
use rustls::ServerConfig;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// How often the files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// The certificate of one listener.
#[derive(Debug)]
pub struct Presented {
    listener: Name,
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// Of the files when they were last read, well or ill.
    stamps: Vec<Option<Stamp>>,
    material: TlsMaterial,
    /// Why the files that lie there now cannot be used.
    fault: Option<String>,
    /// What was said last of the certificate's time.
    warned: Option<String>,
}

/// What changes with a file: device, inode, size and time.
type Stamp = (u64, u64, u64, i64, i64);

/// How a listener's certificate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// When the one in use ends.
    pub until: SystemTime,
    /// What has to be seen to: it ends soon, or its new files cannot be used.
    pub trouble: Option<String>,
}

impl Presented {
    /// Reads the certificate of `listener`; `None` where it has no TLS. Waits for the disk.
    pub fn open(listener: &Listener) -> Result<Option<Arc<Self>>, String> {
        let Some(files) = listener.tls.files() else { return Ok(None) };
        let named = |why: String| format!("listener.{}.{why}", listener.name);
        let stamps = stamps(files);
        let (material, config) = read(files).map_err(named)?;
        let current = Current { config, stamps, material, fault: None, warned: None };
        let presented = Self { listener: listener.name.clone(), files: files.clone(), current: Mutex::new(current) };
        presented.warn(&mut presented.current());
        Ok(Some(Arc::new(presented)))
    }

    /// What new connections are shown.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current().config.clone()
    }

    /// How it stands at `now`.
    pub fn state(&self, now: SystemTime) -> CertificateState {
        let current = self.current();
        let trouble = current.fault.clone().or_else(|| current.material.warning(now));
        CertificateState { until: current.material.not_after, trouble }
    }

    /// Looks at the files, and takes them up where they changed. Connections go on with what they began with. Waits for the disk.
    pub fn refresh(&self) {
        let stamps = stamps(&self.files);
        if self.current().stamps == stamps {
            return self.warn(&mut self.current());
        }
        // Not under the lock: the disk may hang, and connections must not.
        let read = read(&self.files);
        let mut current = self.current();
        current.stamps = stamps;
        match read {
            Ok((material, config)) => {
                (current.material, current.config, current.fault, current.warned) = (material, config, None, None);
                tracing::info!(event = "certificate.changed", listener = %self.listener,
                    until = %day(current.material.not_after), "the listener shows a new certificate");
                self.warn(&mut current);
            }
            Err(why) => {
                tracing::error!(event = "certificate.refused", listener = %self.listener, until = %day(current.material.not_after),
                    "the listener's changed files cannot be used, and the old certificate stays: listener.{}.{why}", self.listener);
                current.fault = Some(format!("its changed files cannot be used: {why}"));
            }
        }
    }

    /// Says once a day that the certificate ends.
    fn warn(&self, current: &mut Current) {
        let warning = current.material.warning(SystemTime::now());
        if warning != current.warned {
            if let Some(warning) = &warning {
                tracing::warn!(event = "certificate.ends", listener = %self.listener, certificate = %self.files.certificate.display(),
                    "{warning}; put a new one in its place, it is taken up by itself");
            }
            current.warned = warning;
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(files: &TlsFiles) -> Result<(TlsMaterial, Arc<ServerConfig>), String> {
    let material = files.read().map_err(|error| error.to_string())?;
    let config = tls::server_config(material.certified.clone(), material.client_roots.clone());
    Ok((material, config.map_err(|error| format!("client-ca: {error}"))?))
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let stamp = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    files.paths().map(stamp).collect()
}

fn day(time: SystemTime) -> impl std::fmt::Display {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%d")
}
