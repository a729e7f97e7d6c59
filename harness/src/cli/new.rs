//! `new`: a first scenario that runs as it is.

use std::io::{self, Write as _};

use super::{Exit, NewArgs, Terminal};
use crate::printable::Text;
use crate::sut;

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
    let text = sut::FIRST_SCENARIO.replace("NAME", &args.name);
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
