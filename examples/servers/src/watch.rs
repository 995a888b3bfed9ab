use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Ends a server, and deletes its folder, should this process die without doing so.
#[derive(Debug)]
pub(crate) struct Watch(Child);

/// It reads until the other end of the pipe is closed, by whatever has ended the process that holds it.
const SCRIPT: &str = r#"
cat
kill -QUIT "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -0 "$1" || break
    sleep 0.1
done
kill -KILL "$1"
rm -rf "$2"
"#;

impl Watch {
    pub(crate) fn over(server: &Child, folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "watch"]).arg(server.id().to_string()).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Not in the group of the terminal, or a Ctrl-C would end it with this process.
        Ok(Self(shell.process_group(0).spawn()?))
    }
}

/// The server is about to be ended by who has started it.
impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
