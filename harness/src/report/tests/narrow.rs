//! Terminals of any width, and those that cannot move their cursor.

use unicode_width::UnicodeWidthStr as _;

use super::*;

const WIDTHS: [usize; 12] = [1, 2, 7, 19, 20, 21, 40, 59, 71, 72, 79, 80];

/// Without what paints: everything from ESC to the letter that ends it.
fn bare(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => inside = true,
            c if inside && c.is_ascii_alphabetic() => inside = false,
            _ if inside => {}
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn the_live_block_never_wraps() {
    for width in WIDTHS {
        for colour in [false, true] {
            let look = terminal::Look {
                colour,
                movable: true,
                width,
            };
            for until_ms in [100, 6_000, 21_500, 26_000, 47_000, 70_000] {
                let text = played_on(&survived(), progress::Mode::Live, until_ms, look);
                for line in text.lines() {
                    let line = bare(line);
                    assert!(line.width() < width.max(2), "{width} columns: {line:?}");
                }
            }
        }
    }
}

#[test]
fn as_many_lines_are_erased_as_were_drawn() {
    let look = terminal::Look {
        colour: false,
        movable: true,
        width: 20,
    };
    let text = played_on(&survived(), progress::Mode::Live, 21_500, look);
    // What is drawn, then "up so many lines and erase", and so on.
    let frames: Vec<&str> = text.split("\u{1b}[J").collect();
    assert!(frames.len() > 10);
    for pair in frames.windows(2) {
        let (drawn, up) = pair[0].rsplit_once("\u{1b}[").unwrap();
        let up: usize = up.trim_end_matches('F').parse().unwrap();
        assert!(up <= drawn.lines().count(), "{up} lines up after {drawn:?}");
        assert!(drawn.ends_with('\n'));
    }
}

#[test]
fn the_summary_fits_any_terminal() {
    for width in WIDTHS {
        let look = terminal::Look {
            colour: false,
            movable: true,
            width,
        };
        let report = report(&unprotected());
        let text = terminal::summary(&report, Some(Path::new("reports/a/report.html")), look);
        let repeat = prose::repeat(&report);
        for line in text.lines() {
            // Paths and commands are there to be copied.
            let whole = line.contains(&repeat) || line.contains("reports/a/report.html");
            let label = matches!(line.trim(), "report" | "repeat");
            let fits = line.width() <= width.max(4) || whole || label;
            assert!(fits, "{width} columns: {line:?}");
        }
        assert!(text.contains(&repeat));
    }
    let narrow = terminal::Look {
        colour: false,
        movable: true,
        width: 40,
    };
    insta::assert_snapshot!(terminal::summary(&report(&unprotected()), None, narrow));
}

#[test]
fn a_dumb_terminal_gets_neither_colours_nor_moves() {
    let dumb = terminal::Look::of_terminal(true, false, Some(20));
    assert_eq!((dumb.colour, dumb.movable, dumb.width), (false, false, 20));
    let plain = terminal::Look::of_terminal(false, true, None);
    assert_eq!((plain.colour, plain.movable), (false, true), "NO_COLOR");
    let usual = terminal::Look::of_terminal(false, false, Some(132));
    assert_eq!(
        (usual.colour, usual.movable, usual.width),
        (true, true, 132)
    );
    assert_eq!(progress::Mode::of(dumb), progress::Mode::Plain);
    assert_eq!(progress::Mode::of(usual), progress::Mode::Live);
    let text = played_on(&survived(), progress::Mode::of(dumb), 70_000, dumb);
    assert!(!text.contains('\u{1b}') && !text.contains('\r'));
}
