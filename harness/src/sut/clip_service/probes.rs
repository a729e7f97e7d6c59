//! The probes of the clip service.

use clip_service::observe::Subject;

use super::GATEWAY;
use crate::sut::probe::{Argument, Change, FaultEdge, Form, Noun, Probe, RatioUnit};

/// How many tries a gateway made for each call; read in `acting/counts.rs`.
pub(super) const AMPLIFICATION: &str = "amplification";

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "breaker",
        argument: Argument {
            placeholder: "NODE",
            noun: "an instance",
            role: None,
        },
        form: Form::Change {
            thing: "a breaker",
            subject: Subject::Breaker,
            changes: &[
                Change {
                    word: "opened",
                    state: "open",
                    since: FaultEdge::Start,
                },
                Change {
                    word: "closed",
                    state: "closed",
                    since: FaultEdge::End,
                },
            ],
        },
        example: "breaker(processor-2) opened within 2s",
        help: "counted from the fault's start; `closed`: from its end",
        term: None,
    },
    Probe {
        name: AMPLIFICATION,
        argument: Argument {
            placeholder: "GATEWAY",
            noun: "a gateway",
            role: Some(GATEWAY),
        },
        form: Form::Ratio(RatioUnit {
            name: "tries per call",
            counted: Noun {
                one: "try",
                many: "tries",
            },
            per: Noun {
                one: "call",
                many: "calls",
            },
        }),
        example: "amplification(gateway-1) <= 1.2",
        help: "tries that the gateway made for each call",
        term: Some((
            "Tries per call",
            "Requests that a gateway sent to others for each one it was asked to make, retries and hedges included; as it counts them itself.",
        )),
    },
];
