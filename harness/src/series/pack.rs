//! A series as text in a record: per load the requests in order of their intended start, each as five variable-length
//! numbers, the whole as base64. About 8 bytes a request instead of some 80 as JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{LoadSeries, NO_SERVICE, Point, Series};
use crate::event::Offset;

#[derive(Serialize, Deserialize)]
struct Packed {
    load: String,
    timeout_us: u32,
    classes: Vec<String>,
    count: u64,
    /// Per request: due since the one before, outcome, step, response, service + 1 (0: never sent). LEB128.
    points: String,
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.loads.iter().map(pack))
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Vec::<Packed>::deserialize(deserializer)?;
        let loads = packed.into_iter().map(unpack).collect::<Result<_, _>>();
        Ok(Self {
            loads: loads.map_err(D::Error::custom)?,
        })
    }
}

fn pack(load: &LoadSeries) -> Packed {
    let mut points: Vec<Point> = load.slices.values().flatten().copied().collect();
    points.sort_unstable();
    let mut bytes = Vec::with_capacity(points.len() * 8);
    let mut before = 0;
    for point in &points {
        let service = match point.service_us {
            NO_SERVICE => 0,
            us => u64::from(us) + 1,
        };
        write(&mut bytes, point.due.0 - before);
        write(&mut bytes, u64::from(point.outcome));
        write(&mut bytes, u64::from(point.step));
        write(&mut bytes, u64::from(point.response_us));
        write(&mut bytes, service);
        before = point.due.0;
    }
    Packed {
        load: load.name.clone(),
        timeout_us: load.timeout_us,
        classes: load.classes.clone(),
        count: points.len() as u64,
        points: STANDARD.encode(bytes),
    }
}

fn unpack(packed: Packed) -> Result<LoadSeries, String> {
    let damaged = || format!("the samples of `{}` are damaged", packed.load);
    let bytes = STANDARD.decode(&packed.points).map_err(|_| damaged())?;
    let mut rest = bytes.as_slice();
    let mut load = LoadSeries {
        name: packed.load.clone(),
        timeout_us: packed.timeout_us,
        classes: packed.classes.clone(),
        slices: BTreeMap::new(),
    };
    let (mut due, mut count) = (0_u64, 0);
    while !rest.is_empty() {
        let mut next = || read(&mut rest).ok_or_else(damaged);
        let (step_on, outcome, step, response, service) =
            (next()?, next()?, next()?, next()?, next()?);
        due = due.checked_add(step_on).ok_or_else(damaged)?;
        load.put(Point {
            due: Offset(due),
            outcome: u16::try_from(outcome).map_err(|_| damaged())?,
            step: u16::try_from(step).map_err(|_| damaged())?,
            response_us: u32::try_from(response).map_err(|_| damaged())?,
            service_us: match service.checked_sub(1) {
                None => NO_SERVICE,
                Some(us) => u32::try_from(us).map_err(|_| damaged())?,
            },
        });
        count += 1;
    }
    if count == packed.count {
        Ok(load)
    } else {
        Err(damaged())
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
