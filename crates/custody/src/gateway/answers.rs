//! Whole answers of servers behind HTTP, read within a budget of bytes that all share.
//!
//! A small answer needs no place: calls are counted. A large one takes a place when it turns out to be large, and keeps it until its last
//! bytes are on their way to the agent: an agent that does not read holds no more than its own share.

use super::coding::{Coding, CodingError};
use super::http::SMALL_BODY;
use super::pool::Answered;
use super::reply::{self, Body};
use crate::config::Limits;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handed over at one time.
const PIECE: usize = 64 << 10;

/// The budget.
#[derive(Clone)]
pub struct Answers {
    room: Arc<Semaphore>,
    limit: usize,
    patience: Duration,
}

/// Why an answer is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is not whole, or too large.
    #[error("it broke off or is over {0} bytes (limits.frame_bytes)")]
    Limit(usize),
    /// Others take all the room.
    #[error("too many large answers are under way (limits.answers_bytes)")]
    NoRoom,
    /// Its coding cannot be taken off.
    #[error(transparent)]
    Coding(#[from] CodingError),
}

/// An answer, as it came and as a message.
pub struct Whole {
    /// The message.
    pub message: Bytes,
    /// The same as the server coded it, if it did.
    pub coded: Option<Bytes>,
    /// Its place, if it needs one.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// As much as the configuration says.
    pub fn new(limits: &Limits) -> Answers {
        Answers { room: Arc::new(Semaphore::new(limits.answers_bytes)), limit: limits.frame_bytes, patience: limits.body() }
    }

    /// Reads an answer to its end and takes its coding off.
    ///
    /// # Errors
    /// See [`Unread`].
    pub async fn read(&self, mut body: Answered, coding: Option<Coding>) -> Result<Whole, Unread> {
        let mut room = None;
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Limit(self.limit))?.into_data() else { continue };
            let size = first.len() + all.len() + data.len();
            if size > self.limit {
                return Err(Unread::Limit(self.limit));
            }
            let has = room.as_ref().map_or(SMALL_BODY, OwnedSemaphorePermit::num_permits);
            if size > has {
                // All of it where its size is known; else twice as much each time.
                let rest = body.size_hint().upper().and_then(|rest| usize::try_from(rest).ok());
                let whole = rest.map_or(size.next_power_of_two(), |rest| size.saturating_add(rest)).min(self.limit);
                let had = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                let more = self.take(whole - had).await?;
                match &mut room {
                    None => room = Some(more),
                    Some(room) => room.merge(more),
                }
            }
            // Most answers come in one piece, which need not be copied.
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        let bytes = if all.is_empty() { first } else { all.freeze() };
        let Some(coding) = coding.filter(|_| !bytes.is_empty()) else {
            return Ok(Whole { room: room.map(|room| fitted(room, bytes.len())), message: bytes, coded: None });
        };
        // What it unfolds to shows only then.
        match coding.decode(&bytes, SMALL_BODY.min(self.limit)) {
            Ok(message) => return Ok(Whole { message: message.into(), coded: Some(bytes), room }),
            Err(CodingError::TooLarge { .. }) => drop(room),
            Err(why) => return Err(why.into()),
        }
        let room = self.take(self.limit).await?;
        let message: Bytes = coding.decode(&bytes, self.limit)?.into();
        let room = fitted(room, message.len());
        Ok(Whole { message, coded: Some(bytes), room: Some(room) })
    }

    async fn take(&self, size: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let room = self.room.clone().acquire_many_owned(u32::try_from(size).unwrap_or(u32::MAX));
        match tokio::time::timeout(self.patience, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Unread::NoRoom),
        }
    }
}

/// As much of a place as is needed.
fn fitted(mut room: OwnedSemaphorePermit, size: usize) -> OwnedSemaphorePermit {
    room.split(size.min(room.num_permits())).unwrap_or(room)
}

/// A body that keeps its place until it is handed over.
pub fn kept(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Body {
    match room {
        None => reply::full(bytes),
        Some(room) => Kept { rest: bytes, _room: room }.boxed(),
    }
}

struct Kept {
    rest: Bytes,
    _room: OwnedSemaphorePermit,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(size);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
