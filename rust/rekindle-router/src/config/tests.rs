// SPDX-License-Identifier: Apache-2.0

use mcuboot_image::sign::SigningKey;

use super::*;

const GOOD: &str = r#"
store = "store"
[[key]]
file = "release.pub.pem"
[[key]]
file = "former.pub.pem"
revoked = true
[[listen]]
url = "tcp://127.0.0.1:0"
[[link]]
name = "north"
url = "serial:///dev/ttyUSB0?half-duplex=yes"
[[link]]
name = "south"
url = "tcp://10.0.0.7:4850"
window = 32
vendor = "example.org"
[[appliance]]
address = "feed0001"
link = "south"
vendor = "example.com"
class = "heater"
"#;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate_p256().unwrap();
        std::fs::write(folder.path().join("release.pub.pem"), key.public_key().to_pem()).unwrap();
        let former = SigningKey::generate_ed25519().unwrap();
        std::fs::write(folder.path().join("former.pub.pem"), former.public_key().to_pem()).unwrap();
        std::fs::write(folder.path().join("release.pem"), key.to_pem().unwrap().as_bytes()).unwrap();
        let secrets = folder.path().join("secrets.toml");
        std::fs::write(&secrets, "[tokens]\nci = \"0123456789\"\n").unwrap();
        std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self(folder)
    }

    fn parse(&self, text: &str) -> Result<Settings, ConfigError> {
        Settings::parse(&self.0.path().join("relay.toml"), text)
    }

    fn says(&self, text: &str, line: Option<usize>, part: &str) {
        let error = self.parse(text).expect_err(text);
        let said = error.to_string();
        assert!(said.contains("relay.toml"), "{said}");
        assert!(said.contains(part), "{said}: `{part}` is missing");
        assert_eq!(error.line(), line, "{said}");
    }
}

#[test]
fn a_configuration_is_read_with_every_file_it_names() {
    let desk = Desk::new();
    let settings = desk.parse(GOOD).unwrap();
    assert_eq!(settings.store, desk.0.path().join("store"));
    assert_eq!(settings.routing, Routing::StoreAndForward);
    assert_eq!(settings.links[1].window, 32);
    assert!(settings.links[0].target.is_half_duplex());
    assert_eq!(settings.appliances[0].link, 1);
    let vendor = settings.appliances[0].product.vendor;
    assert_eq!(vendor, Some(vendor_uuid("example.com").unwrap()));
    assert_eq!(settings.appliances[0].product.class, Some(class_uuid(vendor, "heater").unwrap()));
    let any = rekindle_relay::Target::default();
    assert_eq!(settings.links[0].product, any);
    let vendor = Some(vendor_uuid("example.org").unwrap());
    assert_eq!(settings.links[1].product, rekindle_relay::Target { vendor, ..any });
    assert_eq!(settings.key_files.iter().map(|(_, revoked)| *revoked).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn what_is_wrong_is_told_with_line_and_key() {
    let desk = Desk::new();
    let with = |old: &str, new: &str| {
        assert!(GOOD.contains(old), "{old}");
        GOOD.replacen(old, new, 1)
    };
    desk.says(&with("store = \"store\"", "sture = \"x\""), Some(2), "unknown field `sture`");
    desk.says(&with("window = 32", "window = 0"), Some(16), "nonzero");
    desk.says(&with("window = 32", "windows = 3"), Some(16), "unknown field `windows`");
    desk.says(&with("release.pub.pem", "nowhere.pem"), Some(4), "key.file: cannot read");
    desk.says(&with("release.pub.pem", "release.pem"), Some(4), "is a private key");
    desk.says(&with("release.pub.pem", "secrets.toml"), Some(4), "is no key");
    desk.says(&with("tcp://127.0.0.1:0", "http://x"), Some(9), "listen.url: expected tcp://");
    desk.says(&with("tcp://127.0.0.1:0", "tcp://127.0.0.1:x"), Some(9), "is not a port");
    desk.says(&with("tcp://127.0.0.1:0", "tls://127.0.0.1:0"), Some(9), "listen.certificate");
    desk.says(&with("serial:///dev/ttyUSB0?half-duplex=yes", "wss://x"), Some(12), "a bus is reached over");
    desk.says(&with("name = \"south\"", "name = \"north\""), Some(14), "another link is called `north`");
    desk.says(&with("address = \"feed0001\"", "address = \"ffffffffffffffff\""), Some(19), "everybody");
    desk.says(&with("link = \"south\"", "link = \"east\""), Some(20), "there are: north, south");
    desk.says(&with("vendor = \"example.com\"\n", ""), Some(21), "appliance.class");
    desk.says(&with("vendor = \"example.org\"", "class = \"heater\""), Some(17), "link.class");
    desk.says("store = \"x\"", None, "link: is missing");
    desk.says(&with("[[listen]]\nurl = \"tcp://127.0.0.1:0\"\n", ""), None, "listen: is missing");
    desk.says(&format!("image-max = 7\n{GOOD}"), Some(1), "image-max: expected 32");
    desk.says("store = ", Some(1), "");
    desk.says(&format!("takeover-seconds = 0\n{GOOD}"), Some(1), "takeover-seconds: expected 1");
    desk.says(
        &with("serial:///dev/ttyUSB0?half-duplex=yes", "tcp://10.0.0.7"),
        Some(15),
        "link `north` is at",
    );
    // A copy under another name is the same key, whether one of them is revoked or not.
    let copy = |name: &str| std::fs::copy(desk.0.path().join("release.pub.pem"), desk.0.path().join(name));
    copy("copy.pub.pem").unwrap();
    for revoked in ["revoked = true\n", ""] {
        let text = GOOD.replace("former.pub.pem", "copy.pub.pem").replacen("revoked = true\n", revoked, 1);
        desk.says(&text, Some(6), "release.pub.pem again");
    }
    let mut five = GOOD.to_owned();
    for nth in 0..3 {
        let key = SigningKey::generate_ed25519().unwrap().public_key();
        std::fs::write(desk.0.path().join(format!("{nth}.pub.pem")), key.to_pem()).unwrap();
        five += &format!("[[key]]\nfile = \"{nth}.pub.pem\"\n");
    }
    desk.says(&five, Some(28), "4 at most");
}

#[test]
fn an_address_that_lets_everybody_in_must_be_meant() {
    let desk = Desk::new();
    let with = |listen: &str| GOOD.replacen("url = \"tcp://127.0.0.1:0\"", listen, 1);
    desk.says(&with("url = \"tcp://0.0.0.0\""), Some(9), "anyone = true");
    desk.says(&with("url = \"ws://[::]\""), Some(9), "secrets = ");
    assert!(desk.parse(&with("url = \"tcp://0.0.0.0\"\nanyone = true")).is_ok());
    assert!(desk.parse(&with("url = \"tcp://[::1]\"")).is_ok());
    let ws = desk.parse(&with("url = \"ws://0.0.0.0/fusain\"\nsecrets = \"secrets.toml\"")).unwrap();
    assert_eq!((ws.listeners[0].port, ws.listeners[0].host.as_str()), (80, "0.0.0.0"));
    desk.says(&with("url = \"tcp://127.0.0.1\"\nsecrets = \"secrets.toml\""), Some(10), "listen.secrets");
    desk.says(&with("url = \"tcp://127.0.0.1\"\nclient-ca = \"x\""), Some(10), "has no TLS");
    let pages = desk
        .parse(&with("url = \"ws://127.0.0.1\"\norigins = [\"https://desk.example:8443\", \"*\"]"))
        .unwrap();
    assert_eq!(*pages.listeners[0].origins, ["https://desk.example:8443", "*"]);
    desk.says(&with("url = \"tcp://127.0.0.1\"\norigins = [\"*\"]"), Some(10), "listen.origins: browsers");
    for wrong in
        ["desk.example", "https://desk.example/", "https://", "https://*.example", "ws://desk.example"]
    {
        let text = with(&format!("url = \"ws://127.0.0.1\"\norigins = [\"{wrong}\"]"));
        desk.says(&text, Some(10), "listen.origins: expected");
    }
}

/// docs/relay.toml, with its folder instead of the ones on a controller.
fn example(desk: &Desk, uncommented: bool) -> String {
    let text = include_str!("../../../../docs/relay.toml").replace("/etc/rekindle", ".");
    let is_setting = |line: &str| {
        line.starts_with("[[")
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    let in_folder = |name: &str| desk.0.path().join(name);
    std::fs::copy(in_folder("former.pub.pem"), in_folder("release-2025.pub.pem")).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (name, pem) in [
        ("server.pem", certificate.pem()),
        ("clients.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        std::fs::write(desk.0.path().join(name), pem).unwrap();
    }
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if uncommented && is_setting(setting) => format!("{setting}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn the_commented_example_is_right_as_it_stands_and_with_everything_in_it() {
    let desk = Desk::new();
    let plain = desk.parse(&example(&desk, false)).unwrap();
    assert_eq!((plain.listeners.len(), plain.links.len(), plain.appliances.len()), (1, 1, 0));
    let all = desk.parse(&example(&desk, true)).unwrap();
    assert_eq!((all.listeners.len(), all.links.len(), all.appliances.len()), (3, 2, 1));
    assert_eq!(all.key_files.len(), 2);
    let schemes: Vec<Scheme> = all.listeners.iter().map(|listener| listener.scheme).collect();
    assert_eq!(schemes, [Scheme::Tcp, Scheme::Tls, Scheme::WebSocket]);
}
