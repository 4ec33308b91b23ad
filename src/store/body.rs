//! Message bodies: small ones in memory, larger ones in a file of the state directory, so that memory does not grow with
//! message size.
//!
//! A body that is to be kept is synced first, then named: the file's octets, its name among `bodies` (a rename), the directory. Only
//! then may a row speak of it. On the way out the row goes first, the file after it; a file that no row names is removed at start.

use bytes::Bytes;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use crate::mail::Id;

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
        make_directory(&directory)?;
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

fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
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
                let place = Arc::new(Mutex::new(Place::Spool(path)));
                Ok(Body::File(BodyFile { place, length: self.length }))
            }
        }
    }
}

/// A complete message as it goes upstream: CRLF lines, not dot-stuffed. Cloning shares it.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file. One that is not kept is removed with its last clone.
    File(BodyFile),
    /// One in a file, with other octets at its beginning; never kept.
    Headed(Headed),
}

/// A body of which the first octets are others.
#[derive(Debug, Clone)]
pub struct Headed {
    head: Bytes,
    /// Octets of the file that they stand for.
    instead: u64,
    file: BodyFile,
}

/// A body in a file.
#[derive(Debug, Clone)]
pub struct BodyFile {
    place: Arc<Mutex<Place>>,
    length: u64,
}

/// Where a body's file lies.
#[derive(Debug)]
enum Place {
    /// Among those that arrive; removed when nobody has it any more.
    Spool(TempPath),
    /// Among those that are kept.
    Kept(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Spool(path) => path,
            Self::Kept(path) => path,
        }
    }
}

impl Body {
    /// Octets.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.length,
            Self::Headed(Headed { head, instead, file }) => head.len() as u64 + file.length.saturating_sub(*instead),
        }
    }

    /// Whether it has no octets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from its beginning; several readers may read at once.
    pub async fn reader(&self) -> io::Result<BodyReader> {
        match self {
            Self::Memory(bytes) => Ok(BodyReader::Memory(bytes.clone())),
            Self::File(file) => Ok(BodyReader::File(file.open().await?)),
            Self::Headed(Headed { head, instead, file }) => {
                let mut file = file.open().await?;
                file.seek(io::SeekFrom::Start(*instead)).await?;
                Ok(BodyReader::Headed(head.clone(), file))
            }
        }
    }

    /// The same body with `head` instead of its first octets. Cheap where the body lies in a file, which is not written.
    pub async fn with_head(&self, head: Vec<u8>, instead: u64) -> io::Result<Self> {
        match self {
            Self::File(file) => Ok(Self::Headed(Headed { head: head.into(), instead, file: file.clone() })),
            Self::Headed(Headed { head: before, instead: already, file }) => {
                let (mut head, before_last) = (head, usize::try_from(instead).unwrap_or(usize::MAX));
                head.extend_from_slice(before.get(before_last..).unwrap_or_default());
                let more = instead.saturating_sub(before.len() as u64);
                Ok(Self::Headed(Headed { head: head.into(), instead: already + more, file: file.clone() }))
            }
            Self::Memory(octets) => {
                let mut all = head;
                all.extend_from_slice(octets.get(usize::try_from(instead).unwrap_or(usize::MAX)..).unwrap_or_default());
                Ok(Self::Memory(all.into()))
            }
        }
    }

    /// Its first octets, at most `most`.
    pub async fn beginning(&self, most: usize) -> io::Result<Vec<u8>> {
        let (mut reader, mut all) = (self.reader().await?, Vec::new());
        while all.len() < most {
            let piece = reader.next().await?;
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece[..piece.len().min(most - all.len())]);
        }
        Ok(all)
    }
}

impl BodyFile {
    async fn open(&self) -> io::Result<File> {
        let path = self.path();
        match File::open(&path).await {
            // It was kept, and so renamed, just now.
            Err(why) if why.kind() == io::ErrorKind::NotFound && self.path() != path => File::open(self.path()).await,
            opened => opened,
        }
    }

    fn path(&self) -> PathBuf {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).path().to_owned()
    }
}

/// A body of which a row may speak: what is in a file is synced, and so is the file's name.
#[derive(Debug, Clone)]
pub struct Kept(Body);

impl Kept {
    /// A body that goes into the row itself.
    pub fn small(octets: Bytes) -> Option<Self> {
        (octets.len() <= LARGEST_IN_MEMORY).then_some(Self(Body::Memory(octets)))
    }

    /// Octets.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// What goes into the row; `None` where there is a file.
    pub(super) fn inline(&self) -> Option<&[u8]> {
        match &self.0 {
            Body::Memory(bytes) => Some(bytes),
            Body::File(_) | Body::Headed(_) => None,
        }
    }
}

/// The directory of the kept bodies.
#[derive(Debug, Clone)]
pub(super) struct Bodies(Arc<PathBuf>);

impl Bodies {
    /// Uses `directory`, made (mode 0700) when missing.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        make_directory(&directory)?;
        Ok(Self(Arc::new(directory)))
    }

    /// Makes a body durable under the message's id. Removes nothing when it fails: the next start does.
    pub(super) async fn keep(&self, body: Body, id: Id) -> io::Result<Kept> {
        let Body::File(file) = &body else { return Ok(Kept(body)) };
        let (directory, place, target) = (self.0.clone(), file.place.clone(), self.path(id));
        let kept = tokio::task::spawn_blocking(move || keep(&directory, &place, target)).await;
        kept.map_err(io::Error::other)??;
        Ok(Kept(body))
    }

    /// The kept body of a message.
    pub(super) fn file(&self, id: Id, length: u64) -> Body {
        Body::File(BodyFile { place: Arc::new(Mutex::new(Place::Kept(self.path(id)))), length })
    }

    /// Removes the file of a message whose row is gone. What cannot be removed is removed at the next start.
    pub(super) fn remove(&self, id: Id) {
        let file = self.path(id);
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %file.display(), "a message's file could not be removed; the next start does");
        }
    }

    /// The ids that name files, and files that have no such name.
    pub(super) fn all(&self) -> io::Result<Vec<Result<Id, PathBuf>>> {
        let named = |path: PathBuf| {
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            id.ok_or(path)
        };
        std::fs::read_dir(self.0.as_path())?.map(|entry| Ok(named(entry?.path()))).collect()
    }

    fn path(&self, id: Id) -> PathBuf {
        self.0.join(id.to_string())
    }
}

/// Syncs the file, renames it, syncs the directory: in this order, or a power cut leaves a name without octets, or no name.
fn keep(directory: &Path, place: &Mutex<Place>, target: PathBuf) -> io::Result<()> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let Place::Spool(path) = &*place else { return Ok(()) };
    std::fs::File::open(path)?.sync_all()?;
    crate::crash::point("body-synced");
    std::fs::rename(path, &target)?;
    let spooled = std::mem::replace(&mut *place, Place::Kept(target));
    if let Place::Spool(path) = spooled {
        // There is nothing left to be removed under the old name.
        let _ = path.keep();
    }
    crate::crash::point("body-renamed");
    std::fs::File::open(directory)?.sync_all()
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub enum BodyReader {
    /// What is left.
    Memory(Bytes),
    /// The open file.
    File(File),
    /// What comes before the rest of the open file.
    Headed(Bytes, File),
}

impl BodyReader {
    /// The next piece, at most 128 KiB; empty at the end.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(std::mem::take(bytes)),
            Self::Headed(head, _) if !head.is_empty() => Ok(std::mem::take(head)),
            Self::File(file) | Self::Headed(_, file) => {
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
    use std::time::SystemTime;

    async fn read(body: &Body) -> Vec<u8> {
        body.beginning(usize::MAX).await.unwrap()
    }

    async fn large(spool: &Spool) -> Body {
        let mut large = spool.receive();
        for _ in 0..5 {
            large.write(&[2; LARGEST_IN_MEMORY / 2]).await.unwrap();
        }
        large.finish().await.unwrap()
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

        let large = large(&spool).await;
        assert_eq!(large.len(), 5 * (LARGEST_IN_MEMORY as u64) / 2);
        assert_eq!((read(&large).await, files()), (vec![2; 5 * LARGEST_IN_MEMORY / 2], 1));
        let other = large.clone();
        drop(large);
        assert_eq!(files(), 1);
        drop(other);
        assert_eq!(files(), 0);
    }

    #[tokio::test]
    async fn a_kept_body_moves_under_its_id_and_stays_readable_for_who_had_it() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path().join("spool")).unwrap();
        let bodies = Bodies::open(directory.path().join("bodies")).unwrap();
        let id = Id::new(SystemTime::UNIX_EPOCH, [1; 10]);
        let body = large(&spool).await;
        let kept = bodies.keep(body.clone(), id).await.unwrap();
        assert_eq!((kept.inline(), kept.len()), (None, body.len()));
        assert_eq!(read(&body).await.len() as u64, body.len());
        drop((kept, body));
        assert_eq!(bodies.all().unwrap(), [Ok(id)], "it outlives its last clone");
        assert_eq!(read(&bodies.file(id, 0)).await.len(), 5 * LARGEST_IN_MEMORY / 2);
        bodies.remove(id);
        assert_eq!(bodies.all().unwrap(), []);
    }
}
