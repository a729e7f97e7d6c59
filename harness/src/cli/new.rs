//! `new`: a first scenario that runs as it is.

use std::io::{self, Write as _};

use super::{Exit, NewArgs, Terminal};
use crate::printable::Text;

/// Everything a scenario needs, and a word on each part.
pub(crate) const FIRST_SCENARIO: &str = "\
# yaml-language-server: $schema=../harness/scenario.schema.json
version: 1
name: NAME
about: One of two processors dies under load, and no request fails.

system:
  runtime: embedded               # everything in one process; `process` starts real ones
  service: { gateways: 1, processors: 2 }

load:
  frames:
    arrivals: { rate: 20/s, for: 20s, shape: poisson }
    timeout: 2s
    steps:
      - get: /api/v1/videos/$(fixture.short)/frame?at=$(random 0..5)s
        expect: { status: 200, type: image/jpeg }

steady:                           # must hold this long before the fault, and again after it
  window: 3s
  hold: [ frames.success >= 99.9% ]

faults:
  - { name: crash, at: 5s, for: 4s, target: processor-2, inject: kill }

expect:
  always: [ frames.success >= 99.9% ]
  recover: { within: 3s }
";

pub(super) fn main(args: &NewArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let sound = args.name.len() <= 64
        && args.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && args
            .name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !sound {
        writeln!(
            terminal.err,
            "error: `{}` is not a name: use letters, digits, - and _",
            Text::of(&args.name)
        )?;
        return Ok(Exit::InvalidScenario);
    }
    let path = args.folder.join(format!("{}.yaml", args.name));
    let text = FIRST_SCENARIO.replace("NAME", &args.name);
    let written = std::fs::create_dir_all(&args.folder).and_then(|()| {
        // Never over what is already there.
        let mut file = std::fs::File::create_new(&path)?;
        file.write_all(text.as_bytes())
    });
    match written {
        Ok(()) => {
            writeln!(terminal.out, "wrote {}", Text::of(path.display()))?;
            writeln!(
                terminal.out,
                "next: clip-harness plan {}",
                Text::of(path.display())
            )?;
            Ok(Exit::Pass)
        }
        Err(error) => {
            writeln!(
                terminal.err,
                "error: cannot write {}: {error}",
                path.display()
            )?;
            Ok(Exit::InvalidScenario)
        }
    }
}
