//! Who is of a kind and has all of some tags, without looking at everybody. Pure data: knows neither time nor health.
//!
//! Every instance has a slot, a small number; each kind and each tag has the set of its slots. A lookup intersects the
//! sets, the smallest first. A set is a sorted list while that is the smaller form and a bitmap from then on, so memory
//! grows with the number of (instance, tag) pairs, and a lookup costs as much as the smallest list or a pass over
//! `instances / 64` words, whichever is less.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::registry::wire::Instance;

/// Lists up to this long stay lists: searching them is as fast as a bitmap.
const SHORT: usize = 64;

/// A set of slots.
#[derive(Debug)]
enum Set {
    /// Sorted.
    Few(Vec<u32>),
    /// One bit per slot.
    Many { words: Vec<u64>, len: usize },
}

fn place(slot: u32) -> (usize, u64) {
    ((slot / 64) as usize, 1 << (slot % 64))
}

impl Set {
    fn len(&self) -> usize {
        match self {
            Self::Few(slots) => slots.len(),
            Self::Many { len, .. } => *len,
        }
    }

    fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Few(slots) => slots.binary_search(&slot).is_ok(),
            Self::Many { words, .. } => {
                let (word, bit) = place(slot);
                words.get(word).is_some_and(|word| word & bit != 0)
            }
        }
    }

    fn insert(&mut self, slot: u32) {
        match self {
            Self::Few(slots) => {
                if let Err(at) = slots.binary_search(&slot) {
                    slots.insert(at, slot);
                }
                // Four bytes per member against an eighth of a byte per slot.
                let last = slots.last().map_or(0, |last| *last as usize);
                if slots.len() > SHORT && slots.len() * 32 > last {
                    let mut words = vec![0; last / 64 + 1];
                    for slot in slots.iter() {
                        let (word, bit) = place(*slot);
                        words[word] |= bit;
                    }
                    let len = slots.len();
                    *self = Self::Many { words, len };
                }
            }
            Self::Many { words, len } => {
                let (word, bit) = place(slot);
                if words.len() <= word {
                    words.resize(word + 1, 0);
                }
                if words[word] & bit == 0 {
                    words[word] |= bit;
                    *len += 1;
                }
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        match self {
            Self::Few(slots) => {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
            }
            Self::Many { words, len } => {
                let (word, bit) = place(slot);
                if let Some(word) = words.get_mut(word)
                    && *word & bit != 0
                {
                    *word &= !bit;
                    *len -= 1;
                }
                // Half of the size at which it became one, so that a member that comes and goes changes nothing.
                if *len < words.len().min(SHORT / 2) {
                    let mut slots = Vec::new();
                    members(words, |slot| slots.push(slot));
                    *self = Self::Few(slots);
                }
            }
        }
    }
}

/// Calls `each` for every bit that is set, in order.
fn members(words: &[u64], mut each: impl FnMut(u32)) {
    for (at, word) in words.iter().enumerate() {
        bits(at, *word, &mut each);
    }
}

fn bits(at: usize, mut word: u64, each: &mut impl FnMut(u32)) {
    let base = u32::try_from(at * 64).unwrap_or(u32::MAX);
    while word != 0 {
        each(base + word.trailing_zeros());
        word &= word - 1;
    }
}

/// Slots that are in all of `sets`, in order.
fn intersection(mut sets: Vec<&Set>) -> Vec<u32> {
    sets.sort_by_key(|set| set.len());
    let mut slots = Vec::new();
    match sets.split_first() {
        None => {}
        Some((Set::Few(few), others)) => {
            let common = few.iter().copied();
            slots.extend(common.filter(|slot| others.iter().all(|set| set.contains(*slot))));
        }
        Some((Set::Many { words, .. }, others)) => {
            for (at, word) in words.iter().enumerate() {
                let mut word = *word;
                for set in others {
                    if let Set::Many { words, .. } = set {
                        word &= words.get(at).copied().unwrap_or(0);
                    }
                }
                bits(at, word, &mut |slot| {
                    let listed = |set: &&Set| match set {
                        Set::Few(_) => set.contains(slot),
                        Set::Many { .. } => true,
                    };
                    if others.iter().all(listed) {
                        slots.push(slot);
                    }
                });
            }
        }
    }
    slots
}

/// Every instance as it is shown, by slot, with the sets to find it by.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Option<Arc<Instance>>>,
    free: Vec<u32>,
    kinds: BTreeMap<String, Set>,
    tags: BTreeMap<String, Set>,
}

fn enter(sets: &mut BTreeMap<String, Set>, key: &str, slot: u32) {
    match sets.get_mut(key) {
        Some(set) => set.insert(slot),
        None => drop(sets.insert(key.to_owned(), Set::Few(vec![slot]))),
    }
}

fn leave(sets: &mut BTreeMap<String, Set>, key: &str, slot: u32) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(slot);
        if set.len() == 0 {
            sets.remove(key);
        }
    }
}

impl Index {
    /// Takes an instance in; returns its slot.
    pub(super) fn insert(&mut self, shown: Arc<Instance>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        enter(&mut self.kinds, &shown.kind, slot);
        for tag in &shown.tags {
            enter(&mut self.tags, tag, slot);
        }
        self.slots[slot as usize] = Some(shown);
        slot
    }

    /// Shows the instance in `slot` differently; returns how it was shown.
    pub(super) fn replace(&mut self, slot: u32, shown: Arc<Instance>) -> Option<Arc<Instance>> {
        let old = self.slots.get_mut(slot as usize)?.replace(shown)?;
        let new = self.slots[slot as usize].as_ref()?;
        if old.kind != new.kind {
            leave(&mut self.kinds, &old.kind, slot);
            enter(&mut self.kinds, &new.kind, slot);
        }
        if old.tags != new.tags {
            for tag in old.tags.difference(&new.tags) {
                leave(&mut self.tags, tag, slot);
            }
            for tag in new.tags.difference(&old.tags) {
                enter(&mut self.tags, tag, slot);
            }
        }
        Some(old)
    }

    /// Forgets the instance in `slot`.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(old) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        leave(&mut self.kinds, &old.kind, slot);
        for tag in &old.tags {
            leave(&mut self.tags, tag, slot);
        }
    }

    /// The instance in `slot`.
    pub(super) fn get(&self, slot: u32) -> Option<&Arc<Instance>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Instances of `kind` (`None`: of any) that have all of `tags`, in no particular order.
    pub(super) fn find(&self, kind: Option<&str>, tags: &BTreeSet<String>) -> Vec<Arc<Instance>> {
        if kind.is_none() && tags.is_empty() {
            return self.slots.iter().flatten().cloned().collect();
        }
        let of_kind = kind.into_iter().map(|kind| self.kinds.get(kind));
        let tagged = tags.iter().map(|tag| self.tags.get(tag));
        let sets: Option<Vec<&Set>> = of_kind.chain(tagged).collect();
        // A kind or tag that nobody has: nobody has all.
        let slots = sets.map(intersection).unwrap_or_default();
        slots
            .into_iter()
            .filter_map(|slot| self.get(slot).cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::wire::{Registration, Status};

    fn shown(name: &str, kind: &str, tags: &[&str]) -> Arc<Instance> {
        let mut registration = Registration::new(name, kind, "a:1", 1);
        registration.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Arc::new(Instance::new(&registration, Status::Passing))
    }

    fn names(index: &Index, kind: Option<&str>, tags: &[&str]) -> Vec<String> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let found = index.find(kind, &tags);
        let names: BTreeSet<String> = found.iter().map(|found| found.name.clone()).collect();
        assert_eq!(names.len(), found.len(), "each is found once");
        names.into_iter().collect()
    }

    #[test]
    fn all_tags_must_be_there() {
        let mut index = Index::default();
        index.insert(shown("a", "p", &["x", "y"]));
        let b = index.insert(shown("b", "p", &["x"]));
        index.insert(shown("c", "q", &["x", "y"]));
        assert_eq!(names(&index, Some("p"), &["x", "y"]), ["a"]);
        assert_eq!(names(&index, None, &["x", "y"]), ["a", "c"]);
        assert_eq!(names(&index, Some("p"), &["z"]), [] as [&str; 0]);
        index.replace(b, shown("b", "q", &["y"]));
        assert_eq!(names(&index, Some("q"), &["y"]), ["b", "c"]);
        assert_eq!(names(&index, None, &["x"]), ["a", "c"]);
        index.remove(b);
        assert_eq!(names(&index, None, &[]), ["a", "c"]);
        assert_eq!(
            index.insert(shown("d", "p", &[])),
            b,
            "slots are used again"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever came and went, the index finds what a look at everybody finds; sets pass from lists to bitmaps and
        /// back on the way.
        #[test]
        fn it_finds_what_a_linear_scan_finds(
            steps in proptest::collection::vec((0_usize..400, 0_u8..4, 0_u8..16), 1..1200),
            asked in proptest::collection::vec((0_u8..5, 0_u8..16), 1..12),
        ) {
            let tags_of = |bits: u8| {
                let all = ["t0", "t1", "t2", "t3"];
                all.into_iter().enumerate().filter(move |(i, _)| bits & (1 << i) != 0)
                    .map(|(_, tag)| tag).collect::<Vec<_>>()
            };
            let mut index = Index::default();
            let mut all: BTreeMap<usize, (u32, Arc<Instance>)> = BTreeMap::new();
            for (who, kind, bits) in steps {
                let shown = shown(&format!("i{who}"), &format!("k{kind}"), &tags_of(bits));
                match all.remove(&who) {
                    Some((slot, _)) if kind == 3 => index.remove(slot),
                    Some((slot, _)) => {
                        index.replace(slot, Arc::clone(&shown));
                        all.insert(who, (slot, shown));
                    }
                    None => drop(all.insert(who, (index.insert(Arc::clone(&shown)), shown))),
                }
            }
            for (kind, bits) in asked {
                let kind = (kind < 4).then(|| format!("k{kind}"));
                let tags = tags_of(bits);
                let mut expected: Vec<String> = all.values()
                    .filter(|(_, i)| kind.as_ref().is_none_or(|kind| i.kind == *kind))
                    .filter(|(_, i)| tags.iter().all(|tag| i.tags.contains(*tag)))
                    .map(|(_, i)| i.name.clone()).collect();
                expected.sort();
                prop_assert_eq!(names(&index, kind.as_deref(), &tags), expected);
            }
        }
    }
}
