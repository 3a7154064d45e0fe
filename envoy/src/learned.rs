//! What was learned about the proxy, which has no call to ask it: by a root context, for itself alone. Another has another
//! listener or another configuration, and what is true here can be untrue there.
//!
//! What concerns buffers and trailers is learned for a place: a listener and a route of it. It holds for [`HOLDS_FOR`], so
//! that one odd exchange does not change all later ones.

use core::cell::{Cell, RefCell};
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::hash::DefaultHasher;

use weir::time::Timestamp;

use crate::host;

/// How long what was learned of a place holds after it was last seen.
pub(crate) const HOLDS_FOR: Duration = Duration::from_secs(600);

/// No sensible proxy buffers less: a smaller buffer is never concluded.
pub(crate) const LEAST_BUFFER: usize = 16 * 1024;

/// Most places that something is known of; the one that was seen longest ago makes room.
const MAX_PLACES: usize = 64;

/// Where a stream runs: its listener, route and cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    /// Asks the proxy. Any phase of a stream.
    pub(crate) fn ask() -> Self {
        let mut hasher = DefaultHasher::new();
        for path in [
            &["destination", "address"] as &[&str],
            &["xds", "virtual_host_name"],
            &["xds", "route_name"],
            &["xds", "cluster_name"],
        ] {
            host::property(path).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    /// When a response last ended with trailers.
    trailers: Option<Timestamp>,
    /// The fewest bytes that the proxy refused to buffer, and when it last refused any.
    refused: Option<(usize, Timestamp)>,
    /// The most bytes that it was seen to buffer, and when.
    buffered: Option<(usize, Timestamp)>,
    seen: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// A body callback came while a head was paused: `allow_on_headers_stop_iteration` is set.
    shows_bodies_of_held_heads: Cell<bool>,
    /// It was said that it does not.
    said_unsupported: Cell<bool>,
    places: RefCell<Vec<Known>>,
}

impl Learned {
    /// Whether the proxy shows the bodies of heads that are held; `false` as long as none has shown it.
    pub(crate) const fn shows_bodies_of_held_heads(&self) -> bool {
        self.shows_bodies_of_held_heads.get()
    }

    /// A body callback came while a head was paused by this root's own stream: for good, the setting is one of the root's.
    pub(crate) fn see_body_of_held_head(&self) {
        self.shows_bodies_of_held_heads.set(true);
    }

    /// A head was held in vain. Whether that is news.
    pub(crate) fn see_head_held_in_vain(&self) -> bool {
        !self.said_unsupported.replace(true)
    }

    /// Whether anything is known of any place.
    pub(crate) fn knows_places(&self) -> bool {
        self.places.try_borrow().is_ok_and(|places| !places.is_empty())
    }

    /// Whether responses may end with trailers where this stream runs: then nothing can be sent once they came, unless the
    /// body is paused.
    pub(crate) fn may_end_with_trailers(&self, place: &impl Fn() -> Place, now: Timestamp) -> bool {
        self.known(place).is_some_and(|known| known.trailers.is_some_and(|seen| now.since(seen) < HOLDS_FOR))
    }

    /// A response ended with trailers.
    pub(crate) fn see_trailers(&self, place: Place, now: Timestamp) {
        self.note(place, now, |known| known.trailers = Some(now));
    }

    /// How many bytes the proxy refused to buffer where this stream runs.
    pub(crate) fn refused_bytes(&self, place: &impl Fn() -> Place, now: Timestamp) -> Option<usize> {
        lasting(self.known(place)?.refused, now)
    }

    /// The most bytes that the proxy was seen to buffer where this stream runs.
    pub(crate) fn buffered_bytes(&self, place: &impl Fn() -> Place, now: Timestamp) -> Option<usize> {
        lasting(self.known(place)?.buffered, now)
    }

    /// The proxy buffered this many bytes of a paused response. Tells apart, later, what it refused: not that many.
    pub(crate) fn see_buffered(&self, place: &impl Fn() -> Place, bytes: usize, now: Timestamp) {
        if bytes >= LEAST_BUFFER && self.known(place).is_none_or(|known| lasting(known.buffered, now) < Some(bytes)) {
            self.note(place(), now, |known| known.buffered = Some((bytes, now)));
        }
    }

    /// The proxy refused to buffer that many bytes. Whether that is news.
    pub(crate) fn see_refused(&self, place: Place, bytes: usize, now: Timestamp) -> bool {
        let mut is_news = false;
        self.note(place, now, |known| {
            if bytes < LEAST_BUFFER || lasting(known.buffered, now) >= Some(bytes) {
                return;
            }
            let fewest = lasting(known.refused, now);
            is_news = fewest.is_none_or(|fewest| bytes < fewest);
            known.refused = Some((fewest.map_or(bytes, |fewest| fewest.min(bytes)), now));
        });
        is_news
    }

    /// What is known of the place. It is asked for only where anything is known at all.
    fn known(&self, place: &impl Fn() -> Place) -> Option<Known> {
        let places = self.places.try_borrow().ok()?;
        if places.is_empty() {
            return None;
        }
        let place = place();
        places.iter().find(|known| known.place == place).copied()
    }

    fn note(&self, place: Place, now: Timestamp, change: impl FnOnce(&mut Known)) {
        let Ok(mut places) = self.places.try_borrow_mut() else { return };
        if let Some(known) = places.iter_mut().find(|known| known.place == place) {
            known.seen = now;
            return change(known);
        }
        if places.len() >= MAX_PLACES
            && let Some(oldest) = places.iter().enumerate().min_by_key(|(_, known)| known.seen).map(|(index, _)| index)
        {
            places.swap_remove(oldest);
        }
        let mut known = Known { place, trailers: None, refused: None, buffered: None, seen: now };
        change(&mut known);
        places.push(known);
    }
}

/// A size that was seen, as long as that holds.
fn lasting(seen: Option<(usize, Timestamp)>, now: Timestamp) -> Option<usize> {
    seen.filter(|(_, seen)| now.since(*seen) < HOLDS_FOR).map(|(bytes, _)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place(1);
    const THERE: Place = Place(2);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_learned_holds_for_its_place_and_for_a_time() {
        let learned = Learned::default();
        learned.see_trailers(HERE, at(1));
        assert!(learned.see_refused(HERE, 100_000, at(1)));
        assert!(learned.may_end_with_trailers(&|| HERE, at(600)));
        assert_eq!(learned.refused_bytes(&|| HERE, at(600)), Some(100_000));
        assert!(!learned.may_end_with_trailers(&|| THERE, at(2)));
        assert_eq!(learned.refused_bytes(&|| THERE, at(2)), None);
        assert!(!learned.may_end_with_trailers(&|| HERE, at(601)));
        assert_eq!(learned.refused_bytes(&|| HERE, at(601)), None);
        assert!(learned.see_refused(HERE, 200_000, at(700)), "what has expired is not compared with");
        assert_eq!(learned.refused_bytes(&|| HERE, at(700)), Some(200_000));
    }

    #[test]
    fn no_buffer_is_concluded_that_is_smaller_than_what_was_buffered_or_sensible() {
        let learned = Learned::default();
        assert!(!learned.see_refused(HERE, LEAST_BUFFER - 1, at(1)));
        learned.see_buffered(&|| HERE, 300_000, at(1));
        assert!(!learned.see_refused(HERE, 300_000, at(1)));
        assert_eq!(learned.refused_bytes(&|| HERE, at(1)), None);
        assert!(learned.see_refused(HERE, 300_001, at(1)));
        assert!(!learned.see_refused(HERE, 400_000, at(1)));
        assert_eq!(learned.refused_bytes(&|| HERE, at(1)), Some(300_001));
    }

    #[test]
    fn the_places_that_are_known_are_bounded() {
        let learned = Learned::default();
        for place in 0..1000 {
            learned.see_trailers(Place(place), at(place));
        }
        assert_eq!(learned.places.borrow().len(), MAX_PLACES);
        assert!(learned.may_end_with_trailers(&|| Place(999), at(999)));
    }
}
