//! A Chromium that nobody sees, and the driver that it is told through.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use example_servers::Folder;
use fantoccini::{
    Client, ClientBuilder, Locator,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::service::{PATIENCE, lines};

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A page in a Chromium of its own, which ends with this.
pub(crate) struct Page {
    client: Client,
    _driver: Driver,
}

impl Page {
    /// Where it is 1280 pixels wide.
    pub(crate) async fn open(url: &str) -> Self {
        let driver = Driver::start();
        let profile = format!("--user-data-dir={}/profile", driver.folder.path().display());
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([&*profile]).collect();
        let browser = program("chromium", "chromium");
        let wanted = json!({
            "goog:chromeOptions": { "binary": browser, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted: Capabilities = serde_json::from_value(wanted).expect("an object");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(wanted).connect(&driver.url()).await;
        let client = client.expect("the driver starts a Chromium");
        let page = Self { client, _driver: driver };
        page.resize(1280, 1000).await;
        page.client.goto(url).await.expect("the page");
        page
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// In the colours of this scheme: `light` or `dark`.
    pub(crate) async fn colour(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Clicks on what there is one of.
    pub(crate) async fn click(&self, selector: &str) {
        let found = self.client.find(Locator::Css(selector)).await;
        found.expect(selector).click().await.expect(selector);
    }

    /// What the body of an async function of JavaScript returns.
    pub(crate) async fn run(&self, body: &str) -> Value {
        let script = format!("return (async () => {{ {body}\n }})()");
        self.client.execute(&script, Vec::new()).await.expect(body)
    }

    /// What is written there.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let text =
            self.run(&format!("return document.querySelector('{selector}').innerText")).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Comes back as soon as an expression of JavaScript is true.
    pub(crate) async fn until(&self, expression: &str) {
        let began = Instant::now();
        while self.run(&format!("return Boolean({expression})")).await != json!(true) {
            if began.elapsed() > PATIENCE {
                let page = self.text("body").await;
                panic!("never: {expression}\n{page}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// So high that all of it is seen.
    pub(crate) async fn resize_to_all(&self) {
        let height = self.run("return document.documentElement.scrollHeight").await;
        let height = height.as_u64().and_then(|height| height.try_into().ok());
        self.resize(1280, height.expect("a height")).await;
    }

    /// What is seen, in PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a picture")
    }

    /// What the console has of errors, since it was asked last.
    pub(crate) async fn errors(&self) -> Vec<Value> {
        let log = self.client.issue_cmd(Post("se/log", json!({ "type": "browser" }))).await;
        let log = log.expect("the log");
        let entries = log.as_array().expect("a list").iter();
        entries.filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }

    /// A command of Chromium's own.
    async fn tell(&self, command: &str, params: Value) {
        let told = json!({ "cmd": command, "params": params });
        self.client.issue_cmd(Post("goog/cdp/execute", told)).await.expect(command);
    }
}

/// To a session, beyond the standard.
#[derive(Debug)]
struct Post(&'static str, Value);

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, driver: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        driver.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

/// What starts the Chromium, and ends it.
struct Driver {
    process: Child,
    port: u16,
    /// What both of them write.
    folder: Folder,
}

impl Driver {
    fn start() -> Self {
        let folder = Folder::new("browser").expect("a folder");
        let mut command = Command::new(program("chromedriver", "chromium-driver"));
        command.arg("--port=0").env("TMPDIR", folder.path()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the driver can be run");
        let said = lines(process.stdout.take().expect("a pipe"));
        let mut driver = Self { process, port: 0, folder };
        while driver.port == 0 {
            let line = said.recv_timeout(PATIENCE).expect("the driver starts");
            // "ChromeDriver was started successfully on port 45183."
            let port = line.strip_prefix("ChromeDriver was started successfully on port ");
            driver.port =
                port.and_then(|port| port.trim_end_matches('.').parse().ok()).unwrap_or(0);
        }
        driver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Comes back when the Chromium has ended.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut driver = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        driver.set_read_timeout(Some(PATIENCE))?;
        driver.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        driver.read_exact(&mut [0])
    }
}

impl Drop for Driver {
    /// A driver that is only killed leaves its Chromium behind.
    fn drop(&mut self) {
        let _ = self.shut_down();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a program is, or what to install.
fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.find(|program| program.exists());
    found.unwrap_or_else(|| panic!("`{name}` is not in the PATH: install the package `{package}`"))
}
