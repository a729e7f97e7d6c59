//! The words of the format: one struct per mapping of a scenario file, each field a key.
//!
//! The same definition reads the file (`read.rs`) and describes it in the JSON Schema, so the two cannot differ.
//! What the values mean together is checked in `check/`; what is made of them is [`crate::plan`]'s business.

use clip_service::units::HumanDuration;

use super::command::Command;
use super::expr::Expectation;
use super::fault::Injection;
use super::json_path::JsonPath;
use super::mapping::{Entries, mapping};
use super::text::spanned::Written;
use super::value::{Count, DurationRange, Percent, Rate, RateRange, TemplateText};

pub use super::step::{Step, StepExpectation};
pub use super::value::{After, Factor, Json, Name, Settings, Status, Statuses, Targets};
pub use super::vocabulary::{
    Direction, ExitRule, Format, LedgerCheck, LedgerWord, Moment, RuntimeKind, Shape, Vocabulary,
};

mapping! {
    /// A scenario: the system, what is asked of it, what goes wrong, and what must hold.
    Document {
        /// Version of the format: 1.
        version: Written<u64>,
        /// Name of the scenario; also the name of its report folder.
        name: Written<Name>,
        /// One sentence on what it shows.
        about: Option<Written<String>>,
        /// For choosing scenarios with --tag.
        tags: Vec<Written<Name>>,
        /// Seed of everything random. Omitted: drawn, printed and stored.
        seed: Option<Written<u64>>,
        /// Bound on the whole run, start-up and drain included. Default: what the plan needs at most, no less than 10m.
        limit: Option<Written<HumanDuration>>,
        /// Values used as $(name) elsewhere in the file; --var name=value overrides one.
        vars: Entries<Written<Json>>,
        /// What is started.
        system: System,
        /// What is asked of it, by name.
        load: Entries<Load>,
        /// What must hold before the first fault; the baseline; what "recovered" means.
        steady: Option<Steady>,
        /// What goes wrong.
        faults: Vec<Fault>,
        /// What must hold.
        expect: Option<Expect>,
        /// Makes the scenario a control: these of its expectations must fail, or it has not passed. Written as under expect.
        control: Vec<Written<Expectation>>,
        /// When any of these turns true, the run stops, undoes everything and ends as aborted.
        abort: Vec<Written<Expectation>>,
        /// What is written.
        report: Option<Report>,
    }
}

mapping! {
    /// What is started.
    System {
        /// Where the service runs. Programs run as processes in any case. Default: process.
        runtime: Option<Written<RuntimeKind>>,
        /// The clip service: expands to its nodes and links.
        service: Option<Service>,
        /// Any other programs, by name.
        nodes: Entries<Program>,
        /// Edges between nodes: `web->db: {}`. The service brings its own.
        links: Entries<LinkSettings>,
        /// Node that load enters through, or several (gateway-*) that take turns while they are ready. Default: gateway-1, or the only program.
        entry: Option<Written<String>>,
    }
}

mapping! {
    /// The clip service.
    Service {
        /// How many gateways. Default 1.
        gateways: Option<Written<Count>>,
        /// How many processors. Default 1.
        processors: Option<Written<Count>>,
        /// Keys of the service's configuration that shall differ from its defaults.
        config: Option<Written<Settings>>,
        /// Keys of the configuration of single nodes that shall differ from that: gateway-2: { balance: round-robin }.
        nodes: Entries<Written<Settings>>,
        /// Whether its nodes may end by themselves. Default: fail.
        exits: Option<Written<ExitRule>>,
    }
}

impl Service {
    /// How many nodes of a role are wanted, where it is said.
    #[must_use]
    pub fn count(&self, role: &str) -> Option<&Written<Count>> {
        match role {
            "gateway" => self.gateways.as_ref(),
            "processor" => self.processors.as_ref(),
            _ => None,
        }
    }
}

mapping! {
    /// A program. It must listen on the port in the environment variable PORT.
    Program {
        /// Program and arguments. $(link.NODE) is the address of the link from here to NODE.
        run: Written<Command>,
        /// Additional environment. $(link.NODE) is the address of the link from here to NODE.
        env: Entries<Written<TemplateText>>,
        /// When it counts as ready. Default: GET / answers 200 within 20s.
        ready: Option<Ready>,
        /// How many of it; they are named NAME-1, NAME-2, …
        replicas: Option<Written<Count>>,
        /// Programs that must be ready before it is started.
        after: Vec<Written<String>>,
        /// Whether it may end by itself, outside of faults that end it. Default: fail.
        exits: Option<Written<ExitRule>>,
    }
}

mapping! {
    /// When a node counts as ready.
    Ready {
        /// GET this path.
        get: Written<String>,
        /// Until it answers this status. Default 200.
        status: Option<Written<Status>>,
        /// Within this time. Default 20s.
        within: Option<Written<HumanDuration>>,
    }
}

mapping! {
    /// Settings of a link. There are none yet.
    LinkSettings {}
}

mapping! {
    /// One load: either arrivals or users.
    Load {
        /// Open: work arrives whether or not the system keeps up.
        arrivals: Option<Arrivals>,
        /// Closed: so many users, each thinking between rounds.
        users: Option<Users>,
        /// Node that this load enters through, or several (gateway-*). Default: the system's entry.
        entry: Option<Written<String>>,
        /// A request not answered by then has failed. Default 5s.
        timeout: Option<Written<HumanDuration>>,
        /// Requests, done in order.
        steps: Vec<Step>,
    }
}

mapping! {
    /// Open arrivals: a constant rate for a time, or stages.
    Arrivals {
        /// How arrivals are spaced. Default: even.
        shape: Option<Written<Shape>>,
        /// Constant rate.
        rate: Option<Written<Rate>>,
        /// For how long.
        r#for: Option<Written<HumanDuration>>,
        /// Rate over time, instead of rate and for.
        stages: Vec<StageText>,
        /// Arrivals that may be under way at once; further ones wait and fail when they have waited their timeout. Default 1000.
        max_in_flight: Option<Written<Count>>,
    }
}

mapping! {
    /// A stretch of time: ramp with over, steps with by and each, or hold.
    StageText {
        /// Name for the stretch: expectations can be about it and compare with it.
        name: Option<Written<Name>>,
        /// From one rate to another: 0/s..100/s.
        ramp: Option<Written<RateRange>>,
        /// How long the ramp takes.
        over: Option<Written<HumanDuration>>,
        /// From one rate to another by steps: 50/s..400/s.
        steps: Option<Written<RateRange>>,
        /// How much each step adds, or takes away.
        by: Option<Written<Rate>>,
        /// How long each step is held.
        each: Option<Written<HumanDuration>>,
        /// Stay at the rate reached, or at rate.
        hold: Option<Written<HumanDuration>>,
        /// Rate to hold.
        rate: Option<Written<Rate>>,
    }
}

mapping! {
    /// Closed users.
    Users {
        /// How many.
        count: Written<Count>,
        /// Pause between rounds: 1s..3s. Default: none.
        think: Option<Written<DurationRange>>,
        /// Time over which they start. Default: at once.
        ramp_up: Option<Written<HumanDuration>>,
        /// Time over which they leave. Has no effect yet: they leave together.
        ramp_down: Option<Written<HumanDuration>>,
        /// How long they stay, ramp-up included. Default: as long as the longest other load.
        r#for: Option<Written<HumanDuration>>,
    }
}

mapping! {
    /// What must hold before the first fault.
    Steady {
        /// For so long.
        window: Written<HumanDuration>,
        /// All of these.
        hold: Vec<Written<Expectation>>,
    }
}

mapping! {
    /// One fault: at or after says when, inject says what.
    Fault {
        /// Name.
        name: Written<Name>,
        /// Time since the start of load; later if the steady state is not reached by then.
        at: Option<Written<HumanDuration>>,
        /// Counted from a moment of another fault: crash.recovered + 3s; moments are start, end, recovered.
        after: Option<Written<After>>,
        /// How long it lasts. A restart is over when the node is ready again; there this is the least time it is away.
        r#for: Option<Written<HumanDuration>>,
        /// Node (processor-2), link (gateway-1->processor-1), or selector (processor-*, one of processor-*, any); or a list
        /// of them, in order.
        target: Written<Targets>,
        /// What it does: a word, or a word with settings.
        inject: Written<Injection>,
    }
}

mapping! {
    /// What must hold.
    Expect {
        /// Over the whole of the load.
        always: Vec<Written<Expectation>>,
        /// While a fault lasts, or during a named stage of a load, by that name.
        during: Entries<Vec<Written<Expectation>>>,
        /// Every fault is recovered from.
        recover: Option<Recover>,
        /// When load has ended.
        end: Option<End>,
    }
}

mapping! {
    /// Every fault is recovered from.
    Recover {
        /// Within this time of its end.
        within: Written<HumanDuration>,
        /// And from then on the steady state holds in every window until the next fault, or the end of load. Default: false.
        stays: Option<Written<bool>>,
    }
}

mapping! {
    /// When load has ended.
    End {
        /// Accepted work has this long to finish. Default 30s.
        settle: Option<Written<HumanDuration>>,
        /// What must be true of the accepted work then.
        ledger: Vec<Written<LedgerCheck>>,
        /// How its state is read back. The clip service brings its own.
        read: Option<ReadBack>,
    }
}

mapping! {
    /// How the state of accepted work is read back.
    ReadBack {
        /// GET this path; {id} is the captured id. It answers 404 for what is unknown.
        get: Written<String>,
        /// JSON path of the state.
        state: Written<JsonPath>,
        /// States of success.
        done: Vec<Written<String>>,
        /// States of failure.
        failed: Vec<Written<String>>,
        /// How results are listed.
        results: Option<ReadResults>,
    }
}

mapping! {
    /// How results of accepted work are listed.
    ReadResults {
        /// GET this path; {id} is the captured id.
        get: Written<String>,
        /// JSON path of the array.
        items: Written<JsonPath>,
        /// JSON path, within an item, of where to download it.
        url: Written<JsonPath>,
        /// JSON path, within an item, of what tells it from its siblings.
        rank: Written<JsonPath>,
    }
}

mapping! {
    /// What is written.
    Report {
        /// Report files. Default: all.
        formats: Vec<Written<Format>>,
        /// Comparison with an earlier run. Has no effect yet.
        baseline: Option<Baseline>,
    }
}

mapping! {
    /// Comparison with an earlier run.
    Baseline {
        /// How much worse each measure may be.
        worse: Entries<Written<Percent>>,
    }
}
