//! Peers of a test: they register, open and close their streams, and are looked up.

use tokio::sync::mpsc;

use super::{Channel, OpenStream, World};
use crate::broker::http::identity::Identity;
use crate::broker::{mailbox, registry};
use crate::protocol::peers::{
    CLAUDE_CODE, ListPeers, Peer, PeerList, ProfileSet, Register, Registered, SetProfile,
};
use crate::protocol::stream::Event as StreamEvent;
use crate::protocol::{ApiError, CallerContext, InstanceId, PeerId, ProcessId, ShellSession};
use crate::sys::process::boot_id;

/// How a session's server registers.
#[derive(Debug, Clone)]
pub struct Start {
    request: Register,
    around: CallerContext,
}

impl Start {
    /// A session of Claude Code in a directory, with a presumed channel.
    pub fn at(directory: &str) -> Self {
        let request = Register {
            instance: InstanceId::from_text(""),
            secret: String::new(),
            session: None,
            client: None,
            client_name: CLAUDE_CODE.to_owned(),
            client_version: String::new(),
            cwd: directory.to_owned(),
            directory: Some(directory.to_owned()),
            repo: None,
            name: None,
            channel: Channel::Presumed,
            one_shot: false,
            wakes: true,
            version: String::new(),
            probe: false,
        };
        Self { request, around: CallerContext::default() }
    }

    pub fn session(mut self, session: &str) -> Self {
        self.request.session = Some(session.to_owned());
        self
    }

    pub fn client(mut self, client: ProcessId) -> Self {
        self.request.client = Some(client);
        self
    }

    pub fn channel(mut self, channel: Channel) -> Self {
        self.request.channel = channel;
        self
    }

    /// By `CLAUDE_PEERS_NAME`.
    pub fn named(mut self, name: &str) -> Self {
        self.request.name = Some(name.to_owned());
        self
    }

    /// By the name that the session has in its client.
    pub fn titled(mut self, title: &str) -> Self {
        self.around.title = Some(title.to_owned());
        self
    }

    pub fn repo(mut self, repo: &str) -> Self {
        self.request.repo = Some(repo.to_owned());
        self
    }

    /// A client of another program, which is known by its process.
    pub fn program(mut self, name: &str) -> Self {
        self.request.client_name = name.to_owned();
        self
    }

    pub fn probe(mut self) -> Self {
        self.request.probe = true;
        self
    }
}

/// A registered receiver, and whose it is.
#[derive(Debug, Clone)]
pub struct TestPeer {
    pub id: PeerId,
    pub name: String,
    /// What it was told as it registered.
    pub notes: Vec<String>,
    start: Start,
    is_cli: bool,
}

impl TestPeer {
    pub fn identity(&self) -> Identity {
        if self.is_cli {
            Identity::Owner
        } else {
            Identity::Session(self.start.request.secret.clone())
        }
    }

    pub fn instance(&self) -> &InstanceId {
        &self.start.request.instance
    }

    pub fn session(&self) -> String {
        self.start.request.session.clone().unwrap()
    }

    pub fn client(&self) -> Option<ProcessId> {
        self.start.request.client.clone()
    }

    /// Another start of the same session in the same client.
    pub fn start(&self) -> Start {
        self.start.clone()
    }
}

/// A client process that runs, as far as can be known: it is of another namespace.
pub fn running(number: u32) -> ProcessId {
    ProcessId {
        pid: number,
        start: number.to_string(),
        boot: boot_id(),
        namespace: "of a container".to_owned(),
    }
}

/// A client process that has ended, with its machine.
pub fn ended(number: u32) -> ProcessId {
    ProcessId { boot: "of another machine".to_owned(), ..running(number) }
}

impl World {
    /// Registers a session in `/src/NAME` that is not live.
    pub fn peer(&mut self, name: &str) -> TestPeer {
        self.start(Start::at(&format!("/src/{name}")))
    }

    /// Registers a session and opens its stream, over a presumed channel.
    pub fn live(&mut self, name: &str) -> TestPeer {
        self.live_over(name, Channel::Presumed)
    }

    /// Registers a session and opens its stream, over such a channel.
    pub fn live_over(&mut self, name: &str, channel: Channel) -> TestPeer {
        let peer = self.start(Start::at(&format!("/src/{name}")).channel(channel));
        self.open_stream(&peer);
        peer
    }

    /// Registers a live session whose client process has ended, so that its name is free once its
    /// stream is closed.
    pub fn live_in_ended_client(&mut self, directory: &str) -> TestPeer {
        let number = self.next_number();
        let peer = self.start(Start::at(directory).client(ended(number)));
        self.open_stream(&peer);
        peer
    }

    /// Ends the client process of a peer.
    pub fn end_client(&mut self, peer: &TestPeer) {
        let process = ended(peer.client().unwrap().pid).to_string();
        let query = "UPDATE peers SET client_process = ?2 WHERE id = ?1";
        self.store.database().execute(query, [peer.id.as_str(), &process]).unwrap();
    }

    /// Returns the command line.
    pub fn cli(&mut self) -> TestPeer {
        let id = self.store.read(|tx| Ok(Identity::Owner.authenticate(tx)?.peer)).unwrap();
        let start = Start::at("/");
        TestPeer { id, name: "cli".to_owned(), notes: Vec::new(), start, is_cli: true }
    }

    /// Registers a receiver.
    pub fn start(&mut self, start: Start) -> TestPeer {
        self.try_start(start).unwrap()
    }

    /// Registers a receiver, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_start(&mut self, mut start: Start) -> Result<TestPeer, ApiError> {
        let number = self.next_number();
        let request = &mut start.request;
        request.instance = InstanceId::from_text(format!("instance-{number}"));
        request.secret = format!("{number:0>32}");
        let is_session = request.client_name == CLAUDE_CODE;
        if is_session {
            request.session.get_or_insert_with(|| format!("session-{number}"));
        }
        request.client.get_or_insert_with(|| running(number));
        let registered = self.register(&start)?;
        if start.request.channel == Channel::Proven {
            let query = "UPDATE receivers SET channel = 'proven' WHERE instance = ?1";
            self.store.database().execute(query, [start.request.instance.as_str()]).unwrap();
        }
        let name = registered.peer.name.unwrap_or_default();
        let (id, notes) = (registered.peer.id, registered.notes);
        Ok(TestPeer { id, name, notes, start, is_cli: false })
    }

    /// Registers the same instance once more.
    pub fn register_again(&mut self, peer: &TestPeer) -> Registered {
        self.register(&peer.start).unwrap()
    }

    /// Registers the same instance with another secret.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn register_with_another_secret(
        &mut self,
        peer: &TestPeer,
    ) -> Result<Registered, ApiError> {
        let mut start = peer.start.clone();
        start.request.secret.push('x');
        self.register(&start)
    }

    /// Registers an instance without a secret.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn register_without_secret(&mut self) -> Result<Registered, ApiError> {
        self.register(&Start::at("/"))
    }

    fn register(&mut self, start: &Start) -> Result<Registered, ApiError> {
        let Start { request, around } = start.clone();
        self.write(move |tx| registry::register(tx, &request, &around))
    }

    /// Opens a receiver's stream.
    pub fn open_stream(&mut self, peer: &TestPeer) {
        self.try_open_stream(peer).unwrap();
    }

    /// Opens a receiver's stream, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_open_stream(&mut self, peer: &TestPeer) -> Result<(), ApiError> {
        let generation = self.live.presence.next_generation();
        let (sender, events) = mpsc::unbounded_channel();
        let instance = peer.instance().clone();
        self.streams.insert(instance.clone(), OpenStream { generation, events });
        self.write(move |tx| mailbox::open_stream(tx, &instance, generation, None, sender))?;
        Ok(())
    }

    /// Opens another stream of a receiver before the first is closed, and returns what the first was
    /// sent since the last call.
    pub fn reopen_stream(&mut self, peer: &TestPeer) -> Vec<StreamEvent> {
        let mut older = self.streams.remove(peer.instance()).unwrap();
        self.open_stream(peer);
        assert_eq!(self.live.presence.close(peer.instance(), older.generation), None);
        std::iter::from_fn(|| older.events.try_recv().ok()).collect()
    }

    /// Closes a receiver's stream.
    pub fn close_stream(&mut self, peer: &TestPeer) {
        let stream = self.streams.remove(peer.instance()).unwrap();
        let Some(owner) = self.live.presence.close(peer.instance(), stream.generation) else {
            return;
        };
        if !self.live.presence.lock().is_live(&owner) {
            self.live.client_processes.server_disconnected(&owner, None);
        }
        self.write(move |tx| mailbox::close_stream(tx, &owner)).unwrap();
    }

    /// Returns what the broker has sent down a stream since the last call.
    pub fn events(&mut self, peer: &TestPeer) -> Vec<StreamEvent> {
        let Some(stream) = self.streams.get_mut(peer.instance()) else { return Vec::new() };
        std::iter::from_fn(|| stream.events.try_recv().ok()).collect()
    }

    /// Returns how many streams were looked at for their client processes.
    pub fn looked_at(&self) -> u64 {
        self.live.presence.lock().looked_at()
    }

    /// Returns the messages that were pushed to a receiver since the last call.
    pub fn pushed(&mut self, peer: &TestPeer) -> Vec<String> {
        let pushed = self.events(peer).into_iter().filter_map(|event| match event {
            StreamEvent::Message { delivery } => Some(super::line(&delivery)),
            _ => None,
        });
        pushed.collect()
    }

    /// Returns the peer that a word means.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn resolve(&mut self, word: &str) -> Result<PeerId, ApiError> {
        self.store.read(|tx| Ok(registry::resolve(tx, word)?.id().clone()))
    }

    /// Returns the peer as which a command line inside a session speaks.
    pub fn speaks_as(&mut self, inside: &ShellSession) -> Option<PeerId> {
        let presence = self.live.presence.clone();
        self.store.read(|tx| registry::peer_of_shell(tx.db, inside, &presence)).unwrap()
    }

    /// Returns a peer as others see it now.
    pub fn look(&mut self, peer: &TestPeer) -> Peer {
        self.store.read(|tx| registry::peer(tx, &peer.id)).unwrap()
    }

    /// Returns what a peer is called now; nothing if it has no name.
    pub fn name_of(&mut self, peer: &TestPeer) -> String {
        self.look(peer).name.unwrap_or_default()
    }

    /// Lists the peers, as a caller sees them.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn list(&mut self, caller: &TestPeer, request: &ListPeers) -> Result<PeerList, ApiError> {
        let identity = caller.identity();
        self.store.read(|tx| registry::list(tx, &identity.authenticate(tx)?, request))
    }

    /// Has a session name itself.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn rename(&mut self, peer: &TestPeer, name: &str) -> Result<ProfileSet, ApiError> {
        self.set_profile(peer, SetProfile { name: Some(name.to_owned()), ..SetProfile::default() })
    }

    /// Sets what a session says of itself.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn set_profile(
        &mut self,
        peer: &TestPeer,
        request: SetProfile,
    ) -> Result<ProfileSet, ApiError> {
        let identity = peer.identity();
        self.write(move |tx| {
            let (caller, _) = identity.authenticate_session(tx)?;
            registry::set_profile(tx, &caller, &request)
        })
    }

    /// Unregisters a probe, and returns how many messages went with it.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn unregister(&mut self, peer: &TestPeer) -> Result<u64, ApiError> {
        let identity = peer.identity();
        self.write(move |tx| {
            let (caller, instance) = identity.authenticate_session(tx)?;
            Ok(registry::unregister(tx, &caller, &instance)?.messages)
        })
    }
}
