//! A chat endpoint for automatic summaries, which answers as a test wants it to.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, SessionOptions};

/// A chat endpoint on loopback. Each request gets the next behaviour. The requests are kept.
pub struct Endpoint {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Clone)]
pub enum Behaviour {
    Says(String),
    Body(u16, String),
    /// Answers once the flag is set.
    After(Arc<AtomicBool>, String),
    Closes,
    /// Never answers. The flag is set when the other side has given up.
    Silent(Arc<AtomicBool>),
}

impl Endpoint {
    pub fn new(behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let mut behaviours: VecDeque<Behaviour> = behaviours.into_iter().collect();
        let (kept, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let behaviour = match behaviours.len() {
                    1 => behaviours[0].clone(),
                    _ => behaviours.pop_front().unwrap(),
                };
                let (kept, stopped) = (Arc::clone(&kept), Arc::clone(&stopped));
                std::thread::spawn(move || serve(stream.unwrap(), &behaviour, &kept, &stopped));
            }
        });
        Self { port, asked, stop }
    }

    pub fn options(&self, name: &str) -> SessionOptions {
        SessionOptions::new(name)
            .with("OPENAI_API_KEY", "sk-very-secret-key")
            .with("CLAUDE_PEERS_SUMMARY_BASE_URL", &format!("http://127.0.0.1:{}/v1", self.port))
            .at_once()
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept loop; an error means that it has ended.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut stream: TcpStream,
    behaviour: &Behaviour,
    asked: &Mutex<Vec<String>>,
    stop: &AtomicBool,
) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })?;
        (body.len() >= length).then_some(text.clone())
    };
    let text = loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&chunk[..count]),
        }
        if let Some(text) = whole(&request) {
            break text;
        }
    };
    asked.lock().unwrap().push(text);
    let completion = |text: &str| json!({ "choices": [{ "message": { "role": "assistant", "content": text } }] });
    let (status, body) = match behaviour {
        Behaviour::Closes => return,
        Behaviour::Silent(given_up) => {
            let ended = matches!(stream.read(&mut chunk), Ok(0));
            return given_up.store(ended, Ordering::SeqCst);
        }
        Behaviour::Body(status, body) => (*status, body.clone()),
        Behaviour::Says(text) => (200, completion(text).to_string()),
        Behaviour::After(go, text) => {
            while !go.load(Ordering::SeqCst) && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            (200, completion(text).to_string())
        }
    };
    // The other side may have given up.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
