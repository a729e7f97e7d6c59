use super::*;
use crate::judge::judge;
use crate::judge::testing::{Scene, survived, unprotected};

fn view(scene: &Scene) -> View {
    let record = scene.record();
    View::new(&record, &judge(&record))
}

/// Reports to look at in a browser: `CLIP_REPORT_SAMPLES=dir cargo test -p clip-harness --lib samples -- --ignored`.
#[test]
#[ignore = "writes reports to look at"]
fn samples() {
    let Some(directory) = std::env::var_os("CLIP_REPORT_SAMPLES").map(PathBuf::from) else {
        return;
    };
    for scene in [survived(), unprotected()] {
        let record = scene.record();
        let formats = [Format::Html, Format::Json, Format::Junit, Format::Markdown];
        let directory = directory.join(&record.plan.name);
        write_all(&record, &judge(&record), &directory, &formats).unwrap();
        let text = terminal::summary(&view(&scene), None, terminal::Look::plain());
        std::fs::write(directory.join("summary.txt"), text).unwrap();
    }
}
