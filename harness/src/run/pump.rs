//! Hands everything that happens to the sink, in order, and keeps the series that decisions during the run rest on.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::probes;
use crate::event::{EventKind, Sink};
use crate::runtime::emit::Message;
use crate::series::Series;

const BATCH: usize = 1024;

/// Runs until the end of the run has been handed on.
pub(super) async fn run(
    mut messages: mpsc::UnboundedReceiver<Message>,
    sink: &mut dyn Sink,
    series: Arc<Mutex<Series>>,
    window_edge: &Notify,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while messages.recv_many(&mut batch, BATCH).await > 0 {
        for message in batch.drain(..) {
            match message {
                Message::Event(event) => {
                    sink.event(&event);
                    if probes::is_window_edge(&event.kind) {
                        window_edge.notify_one();
                    }
                    if matches!(event.kind, EventKind::RunEnded { .. }) {
                        return;
                    }
                }
                Message::Sample(sample) => {
                    series.lock().add(&sample);
                    sink.sample(&sample);
                }
                Message::Ledger(entries, checks) => sink.ledger(&entries, &checks),
                Message::Flush(done) => {
                    // The asker may have given up waiting.
                    done.send(()).ok();
                }
            }
        }
    }
}
