//! Packs against the references to them: every byte belongs to exactly one part, and is what the entry says.

use super::{
    super::{
        keys::KeyStore,
        layout::{Layout, MAX_PART},
        seal::OVERHEAD,
        sha256,
    },
    report::{Fault, VerifyReport},
};
use custody_model::{Digest, KeyId, Sealed};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

/// What is wrong with a sealed part.
pub(super) enum PartFault {
    /// The entry says something impossible.
    Reference(String),
    /// The pack does not hold what the entry says.
    Content(String),
}

/// The pack of the segment being read.
pub(super) struct Pack {
    number: u32,
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// Up to here the parts are accounted for.
    end: u64,
    /// Where the file is being read.
    position: u64,
    /// Fingerprint of the reference at each offset, for the references that reuse it.
    parts: HashMap<u64, Digest>,
    /// Keys of the parts of a pack that is gone.
    gone: HashSet<KeyId>,
}

impl Pack {
    pub fn open(layout: &Layout, number: u32) -> Pack {
        let path = layout.pack(number);
        let file = File::open(&path).ok().map(|file| BufReader::with_capacity(64 << 10, file));
        Pack { number, path, file, end: 0, position: 0, parts: HashMap::new(), gone: HashSet::new() }
    }

    /// One reference; whether the part was unsealed too, which needs keys.
    pub fn check(&mut self, part: &Sealed, keys: Option<&KeyStore>) -> Result<bool, PartFault> {
        let reference = |what: &str| Err(PartFault::Reference(what.to_owned()));
        if part.pack != self.number {
            return reference("refers to the pack of another segment");
        }
        let end = part.offset.checked_add(part.stored);
        let (Some(end), true) = (end, part.size <= MAX_PART && (OVERHEAD + 1..=part.size + 1 + OVERHEAD).contains(&part.stored)) else {
            return reference("refers to a sealed part of impossible size");
        };
        let fingerprint = sha256(&serde_json::to_vec(part).expect("strings and numbers"));
        if part.offset < self.end {
            return match self.parts.get(&part.offset) {
                Some(known) if *known == fingerprint => Ok(false),
                _ => reference("refers into another part, or describes it differently"),
            };
        }
        let gap = part.offset - self.end;
        self.end = end;
        self.parts.insert(part.offset, fingerprint);
        let opened = self.read(part, keys)?;
        if gap > 0 {
            return Err(PartFault::Content(format!("leaves {gap} bytes before it that no entry refers to")));
        }
        Ok(opened)
    }

    fn read(&mut self, part: &Sealed, keys: Option<&KeyStore>) -> Result<bool, PartFault> {
        let content = |what: &str| Err(PartFault::Content(what.to_owned()));
        let Some(file) = &mut self.file else {
            self.gone.insert(part.key);
            return Ok(false);
        };
        let short = |_| PartFault::Content("refers to bytes beyond the end of the pack".into());
        if self.position != part.offset {
            file.seek(SeekFrom::Start(part.offset)).map_err(short)?;
        }
        self.position = part.offset + part.stored;
        let Some(key) = keys.and_then(|keys| keys.find(part.key)) else {
            let mut hasher = Sha256::new();
            let mut left = part.stored as usize;
            let mut chunk = [0; 16 << 10];
            while left > 0 {
                let take = left.min(chunk.len());
                file.read_exact(&mut chunk[..take]).map_err(short)?;
                hasher.update(&chunk[..take]);
                left -= take;
            }
            return if Digest(hasher.finalize().into()) == part.digest { Ok(false) } else { content("refers to other bytes") };
        };
        let mut stored = Vec::new();
        let read = file.take(part.stored).read_to_end(&mut stored).map_err(short)?;
        if (read as u64) < part.stored || sha256(&stored) != part.digest {
            return content("refers to other bytes");
        }
        let plain = key.open(&stored, part.commitment, part.size).map_err(|e| PartFault::Content(e.to_string()))?;
        if key.commitment(&plain) != part.commitment {
            return content("holds a plaintext that does not have the commitment");
        }
        Ok(true)
    }

    /// Its file.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// At the end of its segment. `Some`: the pack is gone, and these keys must be destroyed for that to be right.
    pub fn finish(self, last: bool, report: &mut VerifyReport) -> Option<(PathBuf, HashSet<KeyId>)> {
        let Some(mut file) = self.file else { return Some((self.path, self.gone)) };
        let len = file.seek(SeekFrom::End(0)).unwrap_or(0);
        if len > self.end && !(last && report.live) {
            let fault = Fault::new(&self.path, "bytes that no entry refers to").at_offset(self.end);
            report.fault(if last { fault.after_crash() } else { fault });
        }
        None
    }
}
