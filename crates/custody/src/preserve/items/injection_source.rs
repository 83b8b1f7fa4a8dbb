//! The injection source, as investigation named it (I2).

use super::{BagError, BagWriter, End, Item, Seen, document};
use custody_model::{EvidenceItem, Presence};

pub(super) struct Source;

impl Item for Source {
    fn item(&self) -> EvidenceItem {
        EvidenceItem::InjectionSource
    }

    fn see(&mut self, _seen: &Seen<'_>, _bag: &mut BagWriter) -> Result<(), BagError> {
        Ok(())
    }

    fn finish(self: Box<Self>, end: &End<'_>, bag: &mut BagWriter) -> Result<Option<Presence>, BagError> {
        end.case.source.as_ref().map_or(Ok(None), |source| document("injection_source.json", source, bag))
    }
}
