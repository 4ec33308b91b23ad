//! Message bodies: small ones in memory, larger ones in a file of the state directory, so that memory does not grow with
//! message size.

use bytes::Bytes;
use std::{io, path::PathBuf, sync::Arc};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

/// Largest body kept in memory, in octets. The same bound up to which a body goes upstream in one group with its envelope.
pub const LARGEST_IN_MEMORY: usize = 128 * 1024;

/// How much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// The directory in which bodies arrive.
#[derive(Debug, Clone)]
pub struct Spool(Arc<PathBuf>);

impl Spool {
    /// Uses `directory`, made (mode 0700) when missing; what an ended process left in it is removed.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self(Arc::new(directory)))
    }

    /// Begins a body.
    pub fn receive(&self) -> Receiving {
        Receiving { spool: self.clone(), memory: Vec::new(), file: None, length: 0 }
    }

    fn create(&self) -> io::Result<(File, TempPath)> {
        let (file, path) = tempfile::Builder::new().prefix("body-").tempfile_in(self.0.as_path())?.into_parts();
        Ok((File::from_std(file), path))
    }
}

/// A body that is still arriving. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct Receiving {
    spool: Spool,
    memory: Vec<u8>,
    file: Option<(File, TempPath)>,
    length: u64,
}

impl Receiving {
    /// Adds bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        if let Some((file, _)) = &mut self.file {
            return file.write_all(bytes).await;
        }
        if self.memory.len() + bytes.len() <= LARGEST_IN_MEMORY {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let (mut file, path) = self.spool.create()?;
        file.write_all(&self.memory).await?;
        file.write_all(bytes).await?;
        self.memory = Vec::new();
        self.file = Some((file, path));
        Ok(())
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Ends the body.
    pub async fn finish(self) -> io::Result<Body> {
        match self.file {
            None => Ok(Body::Memory(self.memory.into())),
            Some((mut file, path)) => {
                file.flush().await?;
                Ok(Body::File { path: Arc::new(path), length: self.length })
            }
        }
    }
}

/// A complete message as it goes upstream: CRLF lines, not dot-stuffed. Cloning shares it; the last clone removes its file.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file of the spool.
    File {
        /// Where; removed with the last clone.
        path: Arc<TempPath>,
        /// Its octets.
        length: u64,
    },
}

impl Body {
    /// Octets.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Whether it has no octets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from its beginning; several readers may read at once.
    pub async fn reader(&self) -> io::Result<BodyReader> {
        Ok(match self {
            Self::Memory(bytes) => BodyReader::Memory(bytes.clone()),
            Self::File { path, .. } => BodyReader::File(File::open(path.as_ref()).await?),
        })
    }
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub enum BodyReader {
    /// What is left.
    Memory(Bytes),
    /// The open file.
    File(File),
}

impl BodyReader {
    /// The next piece, at most 128 KiB; empty at the end.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(std::mem::take(bytes)),
            Self::File(file) => {
                let mut piece = Vec::with_capacity(CHUNK);
                file.read_buf(&mut piece).await?;
                Ok(piece.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: &Body) -> Vec<u8> {
        let mut reader = body.reader().await.unwrap();
        let mut all = Vec::new();
        loop {
            let piece = reader.next().await.unwrap();
            if piece.is_empty() {
                return all;
            }
            all.extend_from_slice(&piece);
        }
    }

    #[tokio::test]
    async fn small_bodies_stay_in_memory_and_large_ones_leave_with_their_last_clone() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path().join("spool")).unwrap();
        let files = || std::fs::read_dir(directory.path().join("spool")).unwrap().count();

        let mut small = spool.receive();
        small.write(&[1; 1000]).await.unwrap();
        assert_eq!(read(&small.finish().await.unwrap()).await, [1; 1000]);
        assert_eq!(files(), 0);

        let mut large = spool.receive();
        for _ in 0..5 {
            large.write(&[2; LARGEST_IN_MEMORY / 2]).await.unwrap();
        }
        let large = large.finish().await.unwrap();
        assert_eq!(large.len(), 5 * (LARGEST_IN_MEMORY as u64) / 2);
        assert_eq!((read(&large).await, files()), (vec![2; 5 * LARGEST_IN_MEMORY / 2], 1));
        let other = large.clone();
        drop(large);
        assert_eq!(files(), 1);
        drop(other);
        assert_eq!(files(), 0);
    }
}
