//! The number of processors follows the work, on real videos.

use clip_service::scale::ScaleConfig;
use clip_service::units::HumanDuration;

use crate::client::{Client, eventually};
use crate::node::{Embedded, video};

/// A number without labels out of `/metrics`.
async fn number(client: &Client, name: &str) -> Result<f64, String> {
    let body = client.get("/metrics").await.body;
    let text = String::from_utf8(body.to_vec()).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .ok_or_else(|| format!("no {name} in\n{text}"))
}

async fn reaches(client: &Client, name: &str, wanted: f64) {
    eventually(&format!("{name} to be {wanted}"), async || {
        let seen = number(client, name).await?;
        if seen == wanted {
            Ok(())
        } else {
            Err(format!("{seen}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_brings_processors_and_quiet_takes_them_away_again() {
    let service = Embedded::start(|config| {
        config.scale = ScaleConfig {
            max: 3,
            queue_age: HumanDuration::millis(200),
            grow_after: HumanDuration::millis(100),
            shrink_after: HumanDuration::secs(1),
            every: HumanDuration::millis(50),
            ..ScaleConfig::default()
        };
    })
    .await;
    let client = &service.client;
    reaches(client, "clip_processors_desired", 1.0).await;
    let fields = [("max_clips", "2"), ("max_clip_length", "6")];
    let mut jobs = Vec::new();
    for _ in 0..6 {
        let accepted = client.upload(&video(), &fields).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        jobs.push(accepted.json()["job_id"].as_str().unwrap().to_owned());
    }
    reaches(client, "clip_processors_usable", 3.0).await;
    for job in &jobs {
        client.completed_with_clips(job).await;
    }
    // Those who go finish or give back what they have: nothing was lost above, nothing is left below.
    reaches(client, "clip_processors_desired", 1.0).await;
    reaches(client, "clip_processors_usable", 1.0).await;
    service.stop().await;
}
