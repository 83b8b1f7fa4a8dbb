//! Streams that an agent can take up again where it lost them (revision 2025-11-25, "Resumability and Redelivery").
//!
//! What is kept was recorded before. It is bounded: a stream that was pushed out cannot be taken up, like one that never was.

use super::routes::Delivery;
use std::collections::BTreeMap;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What an agent that lost its stream waits before it asks again.
const RETRY_MS: u32 = 1000;

/// The streams of one process.
#[derive(Default)]
pub struct Kept {
    streams: BTreeMap<u64, Stream>,
    bytes: usize,
    last: u64,
}

struct Stream {
    events: Vec<Vec<u8>>,
    out: Sender<Delivery>,
    done: bool,
}

impl Kept {
    /// Streams of one process.
    const STREAMS: usize = 64;
    /// Bytes of all of them.
    const BYTES: usize = 1 << 20;
    /// Events of one stream that can be handed over again.
    const EVENTS: usize = 1024;

    /// A stream that goes out through `out`. Returns its number.
    pub fn open(&mut self, out: Sender<Delivery>) -> u64 {
        self.last += 1;
        self.streams.insert(self.last, Stream { events: Vec::new(), out, done: false });
        self.shrink();
        self.last
    }

    /// Keeps one event of a stream. Returns its id and where it goes; `None` when the stream is not kept any more.
    pub fn keep(&mut self, number: u64, event: &[u8], last: bool) -> Option<(String, Sender<Delivery>)> {
        let stream = self.streams.get_mut(&number)?;
        stream.events.push(event.to_vec());
        stream.done |= last;
        let kept = (event_id(number, stream.events.len()), stream.out.clone());
        let many = stream.events.len() > Self::EVENTS;
        self.bytes += event.len();
        if many {
            self.forget(number);
        }
        self.shrink();
        Some(kept)
    }

    /// The stream of an event, from the one behind it on; with the sender that what comes next goes to.
    pub fn resume(&mut self, last_event: &str) -> Option<(u64, Sender<Delivery>, Receiver<Delivery>)> {
        let (number, seen) = last_event.split_once('-')?;
        let (number, seen): (u64, usize) = (number.parse().ok()?, seen.parse().ok()?);
        let stream = self.streams.get_mut(&number)?;
        let missed = stream.events.get(seen..)?;
        let (out, events) = mpsc::channel(missed.len() + super::routes::IN_FLIGHT);
        for (nth, event) in missed.iter().enumerate() {
            let position = seen + nth + 1;
            let last = stream.done && position == stream.events.len();
            let id = Some(event_id(number, position));
            let _ = out.try_send(Delivery { bytes: event.clone(), last, code: None, id, _room: None });
        }
        stream.out = out.clone();
        Some((number, out, events))
    }

    /// Drops a stream.
    pub fn forget(&mut self, number: u64) {
        if let Some(stream) = self.streams.remove(&number) {
            self.bytes -= stream.events.iter().map(Vec::len).sum::<usize>();
        }
    }

    /// What has ended goes first, then what is oldest.
    fn shrink(&mut self) {
        while self.streams.len() > Self::STREAMS || self.bytes > Self::BYTES {
            let ended = self.streams.iter().find(|(_, stream)| stream.done).map(|(number, _)| *number);
            let Some(number) = ended.or_else(|| self.streams.keys().next().copied()) else { return };
            self.forget(number);
        }
    }
}

/// The first event of a stream: an id to come back with, and when.
pub fn priming(number: u64) -> Vec<u8> {
    format!("id: {}\nretry: {RETRY_MS}\ndata: \n\n", event_id(number, 0)).into_bytes()
}

fn event_id(stream: u64, position: usize) -> String {
    format!("{stream}-{position}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(kept: &mut Kept) -> (u64, Receiver<Delivery>) {
        let (out, events) = mpsc::channel(8);
        (kept.open(out), events)
    }

    #[test]
    fn a_lost_stream_goes_on_behind_what_was_seen() {
        let mut kept = Kept::default();
        let (number, lost) = open(&mut kept);
        drop(lost);
        assert_eq!(kept.keep(number, b"one", false).unwrap().0, format!("{number}-1"));
        kept.keep(number, b"two", false).unwrap();
        let (_, _, mut events) = kept.resume(&format!("{number}-1")).unwrap();
        let (id, out) = kept.keep(number, b"three", true).unwrap();
        out.try_send(Delivery { bytes: b"three".to_vec(), last: true, code: None, id: Some(id), _room: None }).unwrap();
        let got: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| (event.bytes, event.last)).collect();
        assert_eq!(got, [(b"two".to_vec(), false), (b"three".to_vec(), true)]);
        let (_, _, mut again) = kept.resume(&format!("{number}-2")).unwrap();
        assert!(again.try_recv().unwrap().last);
        for unknown in ["", "7", "x-1", "99-0", "1-9999"] {
            assert!(kept.resume(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        let (first, _events) = open(&mut kept);
        kept.keep(first, &vec![b'x'; Kept::BYTES], true).unwrap();
        let (second, _events) = open(&mut kept);
        kept.keep(second, b"y", false).unwrap();
        assert!(kept.resume(&format!("{first}-0")).is_none() && kept.resume(&format!("{second}-0")).is_some());
        let _more: Vec<_> = (0..Kept::STREAMS).map(|_| open(&mut kept)).collect();
        assert!(kept.streams.len() <= Kept::STREAMS && kept.resume(&format!("{second}-0")).is_none());
        assert_eq!(kept.bytes, 0);
    }
}
