//! Steps of a load as planned: what each does, and what is kept of its answer. A kind of step is a variant of
//! [`StepAction`]; how it is performed is the load's business.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::scenario::model::{LedgerWord, Step, StepExpectation};
use crate::scenario::{JsonPath, OptionalKey as _};

/// One step. Texts may hold `$(…)`: `$(uuid)`, `$(random 0..60)`, `$(fixture.talk)`, or the name of a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// What it does.
    pub action: StepAction,
    /// Name to path in the answer (`$.job_id`).
    pub capture: IndexMap<String, JsonPath>,
    /// The first capture is entered in the ledger as accepted when the step is ok.
    pub ledger: bool,
}

/// What a step does: one variant for each kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// Sends a request and reads the whole answer.
    Http(HttpStep),
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HttpStep {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header values.
    pub headers: IndexMap<String, String>,
    /// JSON body.
    pub json: Option<serde_json::Value>,
    /// What counts as ok.
    pub expect: StepExpect,
}

/// What counts as ok.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepExpect {
    /// Allowed status codes; empty means any 2xx.
    pub status: Vec<u16>,
    /// Required content type, parameters left aside.
    pub content_type: Option<String>,
}

impl StepPlan {
    /// A step of a scenario; `None` where something of it could not be understood.
    pub(super) fn new(step: &Step) -> Option<Self> {
        let capture = step.capture.iter();
        Some(Self {
            action: StepAction::Http(HttpStep::new(step)?),
            capture: capture
                .map(|(name, path)| Some((name.value.clone(), path.known()?.clone())))
                .collect::<Option<_>>()?,
            ledger: matches!(step.ledger.if_given()?, Some(LedgerWord::Accepted)),
        })
    }
}

impl StepAction {
    /// What reports call it: `POST /jobs`, as planned, before templates are filled in.
    #[must_use]
    pub fn operation(&self) -> String {
        match self {
            Self::Http(http) => format!("{} {}", http.method, http.path),
        }
    }
}

impl HttpStep {
    /// A request with nothing but a method and a path: any 2xx is ok.
    #[must_use]
    pub fn bare(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            ..Self::default()
        }
    }

    fn new(step: &Step) -> Option<Self> {
        let (method, path) = step.request()?;
        let headers = step.headers.iter();
        Some(Self {
            method: method.to_owned(),
            path: path.known()?.0.clone(),
            headers: headers
                .map(|(name, value)| Some((name.value.clone(), value.known()?.0.clone())))
                .collect::<Option<_>>()?,
            json: step.json.if_given()?.map(|json| json.0.clone()),
            expect: match &step.expect {
                Some(expect) => StepExpect::new(expect)?,
                None => StepExpect::default(),
            },
        })
    }
}

impl StepExpect {
    fn new(expect: &StepExpectation) -> Option<Self> {
        Some(Self {
            status: match expect.status.if_given()? {
                Some(status) => status.0.clone(),
                None => Vec::new(),
            },
            content_type: expect.r#type.if_given()?.cloned(),
        })
    }
}
