//! Who may read the figures: a token of their own, which opens nothing else.

use super::{Secret, files::write_private_new, secret::token_digest};
use custody_model::Digest;
use std::{io, path::Path};
use subtle::ConstantTimeEq as _;

/// Prefix of the token.
const PREFIX: &str = "cst_";
/// No token file is larger.
const MAX_FILE: usize = 4096;

/// The scraper's token, by its digest.
#[derive(Debug)]
pub struct Scraper(Digest);

impl Scraper {
    /// Reads the token file; makes one, readable by its owner only, where there is none. A scraper is pointed at the file
    /// (`authorization.credentials_file` of Prometheus).
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::InvalidData`] when it holds no token.
    pub fn open(path: &Path) -> io::Result<Scraper> {
        let token = match std::fs::read_to_string(path) {
            Ok(text) if text.len() <= MAX_FILE => text.trim().to_owned(),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = Secret::mint(PREFIX)?;
                write_private_new(path, token.expose().as_bytes())?;
                return Ok(Scraper(token.digest()));
            }
            Err(error) => return Err(error),
        };
        match token.starts_with(PREFIX) && token.len() >= 32 {
            true => Ok(Scraper(token_digest(&token))),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Whether this is the token.
    pub fn knows(&self, token: &str) -> bool {
        token_digest(token).0.ct_eq(&self.0.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_an_empty_file_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.token");
        Scraper::open(&path).unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        assert!(Scraper::open(&path).unwrap().knows(&token));
        assert!(!Scraper::open(&path).unwrap().knows(""));
        std::fs::write(&path, "").unwrap();
        assert_eq!(Scraper::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
