//! TLS configurations, one per private CA: with the same configuration a later handshake resumes the session of an earlier one.

use crate::tls;
use rustls::ClientConfig;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::sync::Mutex;

/// By CA file: when it was last changed, and what was made of it. `None` is the system's store alone.
type Made = HashMap<Option<PathBuf>, (Option<SystemTime>, Arc<ClientConfig>)>;

/// The configurations made so far.
#[derive(Debug, Default)]
pub(super) struct Trust(Mutex<Made>);

impl Trust {
    /// The configuration that trusts `ca_file` besides the system's store, made anew when the file has changed.
    pub(super) async fn config(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let changed = match ca_file {
            Some(file) => tokio::fs::metadata(file).await.and_then(|about| about.modified()).ok(),
            None => None,
        };
        // Held while one is made: many connections at once shall not read the system's store many times.
        let mut made = self.0.lock().await;
        let key = ca_file.map(Path::to_owned);
        if let Some((then, config)) = made.get(&key)
            && *then == changed
        {
            return Ok(config.clone());
        }
        let file = key.clone();
        let config = tokio::task::spawn_blocking(move || tls::client_config(file.as_deref()))
            .await
            .map_err(|why| why.to_string())?
            .map_err(|why| why.to_string())?;
        made.insert(key, (changed, config.clone()));
        Ok(config)
    }
}
