//! Output whose reader may be gone, or whose disk may be full: nothing that is written here fails, so that no verb stops
//! half-way because of it. What comes of it is asked afterwards.

use std::cell::RefCell;
use std::io::{self, Write};

/// Standard error: what cannot be written there cannot be said anywhere.
pub(super) struct Errors<'t, 's>(pub(super) &'s RefCell<&'t mut dyn Write>);

impl Write for Errors<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        inner.write_all(bytes).and_then(|()| inner.flush()).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, until it fails. From then on its text is dropped or, where it is a verdict, goes to standard error.
pub(super) struct Output<'t, 's> {
    pub(super) inner: &'t mut dyn Write,
    pub(super) errors: &'s RefCell<&'t mut dyn Write>,
    /// Whether the text must not be lost.
    pub(super) verdict: bool,
    /// Why it failed.
    pub(super) lost: Option<io::Error>,
}

impl Write for Output<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lost.is_none() {
            let written = self.inner.write_all(bytes);
            match written.and_then(|()| self.inner.flush()) {
                Ok(()) => return Ok(bytes.len()),
                Err(error) => {
                    if self.verdict {
                        let said = format!("warning: standard output: {error}; it goes on here\n");
                        Errors(self.errors).write_all(said.as_bytes())?;
                    }
                    self.lost = Some(error);
                }
            }
        }
        if self.verdict {
            Errors(self.errors).write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
