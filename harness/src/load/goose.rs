//! The only file that names goose: its users are the workers that carry out turns of work.
//!
//! Goose's own timing and tables are off. It measures to the first byte, knows no intended starts, and rounds; verdicts
//! rest on our samples alone. What is used is its users: launching, running and ending them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;

/// Goose has one stop switch for the whole process, and each start resets it: one attack at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Pause of a user that had nothing to do. Without it goose calls the next turn at once and starves its own loop.
const IDLE: Duration = Duration::from_millis(10);
const LAUNCH_BOUND: Duration = Duration::from_secs(20);
const END_BOUND: Duration = Duration::from_secs(20);

/// Does the work of one user.
pub(super) trait UserLogic: Send + Sync + 'static {
    /// One turn of user `slot`: bounded in time; false when there was nothing to do.
    fn turn(&self, slot: usize) -> BoxFuture<'_, bool>;
}

/// Why there was no attack.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// Goose refused.
    #[error("the load generator cannot be set up: {0}")]
    Setup(Box<GooseError>),
    /// Its users did not come up in time.
    #[error("only {launched} of {wanted} load users came up within {LAUNCH_BOUND:?}")]
    Launch {
        /// Users that did.
        launched: usize,
        /// Users asked for.
        wanted: usize,
    },
    /// It did not end when told to.
    #[error("the load generator did not end within {END_BOUND:?}")]
    End,
}

impl From<GooseError> for AttackError {
    fn from(error: GooseError) -> Self {
        Self::Setup(Box::new(error))
    }
}

/// Users at work.
pub(super) struct Attack {
    handle: JoinHandle<()>,
    _alone: MutexGuard<'static, ()>,
}

/// What a goose user remembers: which of our users it is.
#[derive(Debug, Clone, Copy)]
struct Slot(usize);

impl Attack {
    /// Launches `users` and returns when each has begun its first turn.
    pub(super) async fn launch(
        host: &str,
        users: usize,
        logic: Arc<dyn UserLogic>,
    ) -> Result<Self, AttackError> {
        let alone = ONE_AT_A_TIME.lock().await;
        let taken = Arc::new(AtomicUsize::new(0));
        let (launched_tx, mut launched) = watch::channel(0_usize);
        let launched_tx = Arc::new(launched_tx);
        let function: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
            let slot = if let Some(Slot(slot)) = user.get_session_data::<Slot>() {
                *slot
            } else {
                let slot = taken.fetch_add(1, Ordering::SeqCst);
                user.set_session_data(Slot(slot));
                launched_tx.send_modify(|count| *count += 1);
                slot
            };
            let logic = logic.clone();
            Box::pin(async move {
                if slot >= users || !logic.turn(slot).await {
                    tokio::time::sleep(IDLE).await;
                }
                Ok(())
            })
        });
        let scenario = Scenario::new("load").register_transaction(Transaction::new(function));
        // One client for all, which is never used: goose would make one for each user, and that takes seconds.
        let attack = GooseAttack::initialize_with_config(configuration(host, users))?
            .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?
            .register_scenario(scenario);
        let handle = tokio::spawn(async move {
            if let Err(error) = attack.execute().await {
                tracing::error!(%error, "load generator");
            }
        });
        let mut attack = Self {
            handle,
            _alone: alone,
        };
        let all_up = launched.wait_for(|count| *count >= users);
        if !matches!(tokio::time::timeout(LAUNCH_BOUND, all_up).await, Ok(Ok(_))) {
            let launched = *launched.borrow();
            attack.end().await?;
            return Err(AttackError::Launch {
                launched,
                wanted: users,
            });
        }
        Ok(attack)
    }

    /// Ends every user after its present turn.
    pub(super) async fn end(&mut self) -> Result<(), AttackError> {
        let ended = async {
            loop {
                // Again and again: a switch thrown while goose is starting up is reset by it.
                goose::trigger_killswitch("the load is over");
                let waited = tokio::time::timeout(Duration::from_millis(100), &mut self.handle);
                if waited.await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(END_BOUND, ended)
            .await
            .map_err(|_| AttackError::End)
    }
}

fn configuration(host: &str, users: usize) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(host.to_owned());
    configuration.users = Some(users);
    // All of them as fast as they can be launched; ramps are the schedule's business.
    configuration.increase_rate = Some("100000".to_owned());
    configuration.no_telnet = true;
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_reset_metrics = true;
    configuration.no_transaction_metrics = true;
    configuration.no_scenario_metrics = true;
    configuration.quiet = 3;
    configuration
}
