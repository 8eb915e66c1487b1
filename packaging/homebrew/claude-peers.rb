# The words in capitals are filled in by packaging/release/render, for a release's source tarball.
class ClaudePeers < Formula
  desc "Lets the Claude Code sessions on a machine find each other and talk"
  homepage "HOMEPAGE"
  url "URL"
  sha256 "SHA256"
  license "MIT"

  depends_on "rust" => :build

  def install
    # The profile that the packages ship; cargo's default one is for a quick build.
    system "cargo", "install", "--profile", "dist", *std_cargo_args
    generate_completions_from_executable(bin/"claude-peers", "completions")
    man1.install Dir["packaging/man/*.1"]
    # The marketplace file names the plugin by its place in this tree.
    pkgshare.install ".claude-plugin"
    (pkgshare/"packaging").install "packaging/claude-plugin"
  end

  # A `service` block cannot say what is needed: a Unix socket in the user's own home, which only
  # the program knows, and on Linux any socket at all.
  def caveats
    <<~EOS
      Set up Claude Code once:
        claude-peers setup claude
      or, as a plugin:
        claude plugin marketplace add #{HOMEBREW_PREFIX}/share/claude-peers
        claude plugin install peers@claude-peers

      The first session starts the broker. To let the system start it instead, and keep it under
      supervision:
        claude-peers service install
      Run that again after an upgrade, and before you uninstall:
        claude-peers service uninstall
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/claude-peers --version")

    # A real broker and two real sessions; it fails unless each message was seen to be read.
    assert_match "message", shell_output("#{bin}/claude-peers demo")

    assert_path_exists pkgshare/"packaging/claude-plugin/.claude-plugin/plugin.json"

    # Short, because systems limit the length of a socket's path.
    ENV["XDG_RUNTIME_DIR"] = testpath.to_s
    ENV["CLAUDE_PEERS_PORT"] = free_port.to_s
    assert_match "not running", shell_output("#{bin}/claude-peers status", 3)
    begin
      assert_match "SUMMARY", shell_output("#{bin}/claude-peers peers")
      assert_match "started by a session or a command", shell_output("#{bin}/claude-peers status")
    ensure
      system bin/"claude-peers", "kill-broker"
    end
    assert_match "not running", shell_output("#{bin}/claude-peers status", 3)
  end
end
