//! What must be there that cargo does not bring: found before anything is built, and all of it at once.

use crate::step::Failure;
use std::process::Command;

/// Something that is needed.
struct Tool {
    /// For people.
    name: &'static str,
    /// Package of Debian that has it.
    package: &'static str,
    /// Why it is needed.
    why: &'static str,
    /// Whether it is there; else what was found.
    check: fn() -> Result<(), String>,
}

/// For the tests.
const FOR_TESTS: [Tool; 9] = [
    Tool {
        name: "a Java development kit, 17 or newer",
        package: "openjdk-17-jdk-headless",
        why: "Eclipse Leshan is the foreign LwM2M server of the tests",
        check: jdk,
    },
    Tool { name: "Maven", package: "maven", why: "it fetches Leshan and builds its harness", check: maven },
    Tool {
        name: "python3 in /usr/bin",
        package: "python3",
        why: "a plugin of the tests is a Python script; plugins run with PATH=/usr/bin:/bin",
        check: python,
    },
    Tool { name: "openssl", package: "openssl", why: "it is a foreign peer of DTLS", check: openssl },
    Tool {
        name: "tshark, with dumpcap that may capture on the loopback",
        package: "tshark",
        why: "tests assert what is on the wire",
        check: capture,
    },
    Tool {
        name: "ip and ss",
        package: "iproute2",
        why: "tests make hosts of their own, in network namespaces",
        check: iproute,
    },
    Tool {
        name: "wireguard-go and wg",
        package: "wireguard-go wireguard-tools",
        why: "a tunnel of the tests is a real one",
        check: wireguard,
    },
    Tool {
        name: "ssh-keygen",
        package: "openssh-client",
        why: "it signs a threat analysis in the tests",
        check: ssh_keygen,
    },
    Tool { name: "faketime", package: "faketime", why: "tests run the daemon in another time", check: faketime },
];

/// Fails with a list of what is missing for the tests, and how to get it.
pub(crate) fn check_for_tests() -> Result<(), Failure> {
    let missing: Vec<(&Tool, String)> =
        FOR_TESTS.iter().filter_map(|tool| (tool.check)().err().map(|found| (tool, found))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut message = String::from("something that the tests need is not there:\n");
    for (tool, found) in &missing {
        message += &format!("  {} ({found}): {}\n", tool.name, tool.why);
    }
    let packages: Vec<&str> = missing.iter().map(|(tool, _)| tool.package).collect();
    message += &format!("on Debian or Ubuntu, as root:\n  apt-get install {}", packages.join(" "));
    Err(Failure::missing(message))
}

/// Fails if the toolchain has no rustfmt or clippy.
pub(crate) fn check_for_lint() -> Result<(), Failure> {
    let missing = ["rustfmt", "clippy-driver"].into_iter().any(|name| first_line(name, "--version").is_none());
    if missing {
        return Err(Failure::missing("rustfmt or clippy is not there:\n  rustup component add rustfmt clippy".into()));
    }
    Ok(())
}

fn jdk() -> Result<(), String> {
    // The compiler is asked for: it comes with the development kit only.
    let line = first_line("javac", "-version").ok_or("no javac")?;
    match major(&line) {
        Some(17..) => first_line("java", "-version").map(|_| ()).ok_or_else(|| "javac, but no java".into()),
        _ => Err(format!("found {line}")),
    }
}

fn maven() -> Result<(), String> {
    first_line("mvn", "--version").map(|_| ()).ok_or_else(|| "no mvn".into())
}

fn python() -> Result<(), String> {
    first_line("/usr/bin/python3", "--version").map(|_| ()).ok_or_else(|| "no /usr/bin/python3".into())
}

fn openssl() -> Result<(), String> {
    first_line("openssl", "version").map(|_| ()).ok_or_else(|| "no openssl".into())
}

fn faketime() -> Result<(), String> {
    first_line("faketime", "--version").map(|_| ()).ok_or_else(|| "no faketime".into())
}

fn capture() -> Result<(), String> {
    first_line("tshark", "--version").ok_or("no tshark")?;
    // To name the link types of an interface it must be able to open it.
    let opens = Command::new("dumpcap").args(["-i", "lo", "-L"]).output().is_ok_and(|output| output.status.success());
    opens.then_some(()).ok_or_else(|| {
        "dumpcap may not: be root, or join the group wireshark after `dpkg-reconfigure wireshark-common`".into()
    })
}

fn iproute() -> Result<(), String> {
    let there = ["ip", "ss"].into_iter().all(|program| first_line(program, "-V").is_some());
    there.then_some(()).ok_or_else(|| "no ip or no ss".into())
}

fn wireguard() -> Result<(), String> {
    let there = first_line("wireguard-go", "--version").is_some() && first_line("wg", "--version").is_some();
    there.then_some(()).ok_or_else(|| "no wireguard-go or no wg".into())
}

fn ssh_keygen() -> Result<(), String> {
    // It has no option that only tells its version, and fails with its usage.
    Command::new("ssh-keygen").arg("-?").output().map(|_| ()).map_err(|error| error.to_string())
}

/// First line that `program` prints about its version, if it can be run and succeeds.
pub(crate) fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
    // Some print it to standard output, some to standard error.
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Some(text.lines().next().unwrap_or_default().to_string())
}

/// Major number of `javac 17.0.15`.
fn major(line: &str) -> Option<u32> {
    line.split_whitespace().nth(1)?.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{first_line, major};

    #[test]
    fn versions_of_java() {
        assert_eq!(major("javac 17.0.15"), Some(17));
        assert_eq!(major("javac 21-ea"), Some(21));
        assert_eq!(major("javac 1.8.0_392"), Some(1), "older than 9: too old as well");
        assert_eq!(major("javac"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_none() {
        assert_eq!(first_line("no-such-program-here", "--version"), None);
        assert!(first_line("cargo", "--version").is_some());
    }
}
