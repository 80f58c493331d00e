//! The files of a demo: configuration, keys, analysis and nodes, in a directory of its own that is removed at the end.

use crate::policy::date::Day;
use crate::policy::draft::Draft;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directory and the names of its nodes.
pub(super) struct Site {
    dir: PathBuf,
    dev_euis: Vec<String>,
}

impl Site {
    /// Makes the directory (mode 0700) and the files of the nodes, with keys made from the seed.
    pub(super) fn prepare(nodes: u16, seed: u64) -> Result<Site, String> {
        let dir = std::env::temp_dir().join(format!("lpwad-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut random = seed;
        let mut next = move || {
            // SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
            random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        let dev_euis: Vec<String> = (1..=nodes).map(|n| format!("70b3d57ed001{n:04x}")).collect();
        let (mut sim, mut keys) = (String::new(), String::new());
        for (index, dev_eui) in dev_euis.iter().enumerate() {
            let key = format!("{:016x}{:016x}", next(), next());
            let temperature = 200 + 7 * index;
            let payload = format!("0167{temperature:04x}0268{:02x}", 90 + index);
            let next_payload = format!("0167{:04x}0268{:02x}", temperature + 3, 91 + index);
            // Writing to a String cannot fail.
            let _ = writeln!(keys, "[\"{dev_eui}\"]\napp_key = \"{key}\"");
            let _ = writeln!(
                sim,
                "[[node]]\ndev_eui = \"{dev_eui}\"\napp_key = \"{key}\"\nsf = 7\ninterval_s = 12\nfport = 1\n\
                 payloads = [\"{payload}\", \"{next_payload}\"]\nstart_delay_s = {:.1}\nsingle_channel = true\nrx_tolerance_ms = 100\n",
                2.0 + 1.7 * index as f64
            );
        }
        let site = Site { dir, dev_euis };
        site.write("nodes.toml", &sim)?;
        site.write("keys.toml", &keys)?;
        Ok(site)
    }

    /// Writes the configuration and the analysis for a server; the latter is valid until tomorrow.
    pub(super) fn configure(&self, server: &str, unix_ms: Option<u64>) -> Result<(), String> {
        let unix_ms = unix_ms.ok_or("the clock of this machine is not set, and no NoSec session opens without it")?;
        let mut config = format!(
            "[[radio]]\nname = \"demo\"\nplugin = \"lora-serial\"\nsettings = {{ device = \"{}\", dialect = \"rn2483\", region = \"EU868\" }}\n\
             [[server]]\nname = \"demo\"\nuri = \"{server}\"\n",
            self.modem_link().display()
        );
        for dev_eui in &self.dev_euis {
            let _ = writeln!(config, "[[node]]\ndev_eui = \"{dev_eui}\"\nprofile = \"cayenne-lpp\"");
        }
        self.write("lpwad.toml", &config)?;
        let analyses = self.dir.join("threat-analysis.d");
        // A directory that a group could write would not be believed, whatever the umask.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&analyses)
            .map_err(|error| format!("{}: {error}", analyses.display()))?;
        let today = Day::of_unix_ms(unix_ms);
        let analysis = Draft {
            id: "DEMO",
            title: "Demonstration: server on this host, nodes of a simulator",
            server,
            endpoints: &["*"],
            reviewed: today,
            expires: today.plus(1),
            by: "whoever runs the demonstration",
            clock: Some("it is there to be seen, for minutes"),
            abp: None,
            accept: Some("no other users on this host"),
            needs_reserve: false,
        }
        .text();
        self.write("threat-analysis.d/demo.toml", &analysis)
    }

    pub(super) fn endpoint(&self, index: usize) -> String {
        self.dev_euis.get(index).map_or_else(String::new, |dev_eui| format!("urn:dev:mac:{dev_eui}"))
    }

    pub(super) fn modem_link(&self) -> PathBuf {
        self.dir.join("modem")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.dir.join(name);
        create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn create(path: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
