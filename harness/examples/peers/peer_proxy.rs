//! What stands between clients and processors, and how a scenario gets it.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

/// One of the things that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerProxy {
    /// The service's own gateway.
    Gateway,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
}

const HAPROXY: &str = include_str!("haproxy.cfg");
const NGINX: &str = include_str!("nginx.conf");
const NGINX_START: &str = include_str!("nginx.sh");

/// Processors that the configurations name.
pub(crate) const PROCESSORS: usize = 3;

impl PeerProxy {
    pub(crate) const ALL: [Self; 3] = [Self::Gateway, Self::Haproxy, Self::Nginx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Its version, or why it cannot take part.
    pub(crate) fn installed(self) -> Result<String, String> {
        let flag = match self {
            Self::Gateway => return Ok(format!("clip-service {}", env!("CARGO_PKG_VERSION"))),
            // nginx prints its version on stderr.
            Self::Haproxy | Self::Nginx => "-v",
        };
        let output = Command::new(self.name()).arg(flag).output().map_err(|_| {
            let name = self.name();
            format!("no {name} on this machine; on Debian: apt-get install {name}")
        })?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Writes its configuration into `folder`; the command that starts it. It takes its port from `PORT` and the
    /// processors' addresses from `P1`, `P2` and `P3`.
    pub(crate) fn prepare(self, folder: &Path) -> Result<Vec<String>, String> {
        let file = |name: &str, text: &str| {
            let file = folder.join(name);
            std::fs::write(&file, text)
                .map(|()| file.display().to_string())
                .map_err(|e| format!("{}: {e}", file.display()))
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Ok(match self {
            Self::Gateway => Vec::new(),
            Self::Haproxy => words(&["haproxy", "-db", "-f", &file("haproxy.cfg", HAPROXY)?]),
            Self::Nginx => {
                file("nginx.conf.in", NGINX)?;
                words(&["sh", &file("nginx.sh", NGINX_START)?])
            }
        })
    }

    /// The scenario `text` with this proxy in the way of the load. A proxy takes the frames straight from the processors,
    /// as the gateway does; everything else stays as it is written, and the gateway is there for uploads.
    pub(crate) fn put_before(self, text: &str, folder: &Path) -> Result<String, String> {
        if self == Self::Gateway {
            return Ok(text.to_owned());
        }
        let name = self.name();
        let command = self.prepare(folder)?.join(", ");
        let mut node = format!("  nodes:\n    {name}:\n      run: [ {command} ]\n");
        node.push_str("      ready: { get: /up }\n      env:\n");
        let mut links = "  links:\n".to_owned();
        for number in 1..=PROCESSORS {
            node.push_str(&format!("        P{number}: $(link.processor-{number})\n"));
            links.push_str(&format!("    {name}->processor-{number}: {{}}\n"));
        }
        let mut changed = Vec::new();
        let (mut has_node, mut has_load) = (false, false);
        let mut before = "";
        for line in text.lines() {
            match line.strip_prefix("name: ") {
                Some(scenario) => changed.push(format!("name: {scenario}-{name}")),
                None => changed.push(line.to_owned()),
            }
            if line == "system:" {
                has_node = true;
                changed.push(format!("{node}{links}").trim_end().to_owned());
            }
            // Only the first load, which is the frames; jobs and uploads are the gateway's.
            let plain = line.split('#').next().unwrap_or_default().trim_end();
            if before == "load:" && plain.ends_with(':') {
                has_load = true;
                changed.push(format!("    entry: {name}"));
            }
            before = line;
        }
        if !(has_node && has_load) {
            return Err(
                "a scenario needs lines `system:` and `load:`, and a load on the line after it"
                    .to_owned(),
            );
        }
        changed.push(String::new());
        Ok(changed.join("\n"))
    }
}
