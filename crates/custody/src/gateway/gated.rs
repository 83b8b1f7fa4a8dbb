//! A request body that looks at the freeze set at the last moment: when the connection is there and the bytes
//! are wanted (promise 4: not one that was already on its way in another connection).

use crate::core::{Core, Permit, Refusal, Sending};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

/// A recorded, permitted message, or nothing.
pub struct GatedBody {
    core: Option<Arc<Core>>,
    permit: Option<Permit>,
    /// Of the other messages of a batch.
    more: Vec<Permit>,
    bytes: Bytes,
    sending: Option<Sending>,
    more_sending: Vec<Sending>,
    gate: Gate,
}

/// What the gate said, for whoever waits for the answer.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Option<Refusal>>>);

impl Gate {
    /// The refusal, if a freeze came before the bytes were handed over.
    pub fn overtaken(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The freeze came first.
#[derive(Debug, thiserror::Error)]
#[error("a freeze came before the message was handed over")]
pub struct Overtaken;

impl GatedBody {
    /// The bytes of a permitted message.
    pub fn new(core: Arc<Core>, permit: Permit, bytes: Bytes) -> Self {
        GatedBody { core: Some(core), permit: Some(permit), bytes, ..GatedBody::empty() }
    }

    /// The bytes of a batch of permitted messages. A freeze that stops one of them at the last moment stops all.
    pub fn several(core: Arc<Core>, permits: Vec<Permit>, bytes: Bytes) -> Self {
        let mut permits = permits.into_iter();
        let permit = permits.next();
        GatedBody { core: Some(core), permit, more: permits.collect(), bytes, ..GatedBody::empty() }
    }

    /// No body: `GET` and `DELETE`.
    pub fn empty() -> Self {
        GatedBody {
            core: None,
            permit: None,
            more: Vec::new(),
            bytes: Bytes::new(),
            sending: None,
            more_sending: Vec::new(),
            gate: Gate::default(),
        }
    }

    /// To ask later why the request failed.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = Overtaken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Overtaken>>> {
        let Some((core, permit)) = self.core.clone().zip(self.permit.take()) else { return Poll::Ready(None) };
        let more = std::mem::take(&mut self.more).into_iter().map(|permit| core.redeem(permit)).collect::<Result<Vec<_>, _>>();
        match more.and_then(|more| Ok((core.redeem(permit)?, more))) {
            Ok((sending, more)) => {
                (self.sending, self.more_sending) = (Some(sending), more);
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
            }
            Err(refusal) => {
                *self.gate.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                Poll::Ready(Some(Err(Overtaken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.permit.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
