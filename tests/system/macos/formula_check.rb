#!/usr/bin/env ruby
# formula_check.rb FORMULA.rb TARBALL PROGRAM - install and test a Homebrew formula without Homebrew.
#
# Homebrew itself runs on no machine that builds this. This file defines just what a formula of a
# Rust program calls, so any other call (a misspelt one, say) is an error. TARBALL is unpacked and
# installed from as the formula says, with one difference: `cargo install` puts PROGRAM in place and
# compiles nothing. Completions and man pages are really made, and the `test do` block really runs.
require "digest"
require "fileutils"
require "json"
require "open3"
require "pathname"
require "shellwords"
require "socket"
require "tmpdir"

abort "usage: formula_check.rb FORMULA.rb TARBALL PROGRAM" unless ARGV.size == 3
FORMULA, TARBALL, PROGRAM = ARGV.map { |path| File.expand_path(path) }

class Problem < StandardError; end

HOMEBREW_PREFIX = Pathname("/opt/homebrew")

class Pathname
  # Moves files and directories there, as Homebrew's method of this name does.
  def install(*sources)
    sources = sources.flatten
    raise Problem, "nothing to install into #{self}" if sources.empty?

    mkpath
    sources.each do |source|
      raise Problem, "#{source} is not in the source" unless File.exist?(source)
      FileUtils.mv source, self
    end
  end
end

class Formula
  class << self
    attr_reader :meta, :deps, :test_block, :formula

    def inherited(klass)
      super
      @formula = klass
      klass.instance_variable_set(:@meta, {})
      klass.instance_variable_set(:@deps, {})
    end

    %i[desc homepage url sha256 license].each do |key|
      define_method(key) do |value|
        raise Problem, "#{key} stands there twice" if @meta.key?(key)
        @meta[key] = value
      end
    end

    def depends_on(dep) = dep.is_a?(Hash) ? @deps.merge!(dep) : @deps[dep] = nil
    def test(&block) = @test_block = block
  end

  attr_reader :prefix, :testpath

  def initialize(root)
    @prefix = Pathname(root)/"Cellar/claude-peers/#{version}"
    @testpath = Pathname(root)/"test"
    @testpath.mkpath
  end

  def version = File.basename(self.class.meta.fetch(:url))[/-(\d+(\.\d+)+)\.tar/, 1]
  def bin = @prefix/"bin"
  def man1 = @prefix/"share/man/man1"
  def pkgshare = @prefix/"share/claude-peers"
  def std_cargo_args = ["--locked", "--root=#{@prefix}", "--path=."]

  def system(*command)
    if command.first == "cargo"
      raise Problem, "cargo #{command.drop(1).join(" ")}" unless command == ["cargo", "install", "--profile", "dist", *std_cargo_args]
      raise Problem, "no Cargo.toml and Cargo.lock to install from" unless File.file?("Cargo.toml") && File.file?("Cargo.lock")
      bin.mkpath
      FileUtils.cp PROGRAM, bin
    else
      Kernel.system(*command.map(&:to_s), out: File::NULL) or raise Problem, "#{command.join(" ")}: #{$?}"
    end
  end

  # As in Homebrew: the shell's name is the last argument.
  def generate_completions_from_executable(*command)
    files = { "bash" => "etc/bash_completion.d/claude-peers", "zsh" => "share/zsh/site-functions/_claude-peers",
              "fish" => "share/fish/vendor_completions.d/claude-peers.fish" }
    files.each do |shell, file|
      script = shell_output([*command.map(&:to_s), shell].shelljoin)
      raise Problem, "no completions for #{shell}" unless script.match?(/claude-peers"? -- /)
      (@prefix/file).dirname.mkpath
      (@prefix/file).write(script)
    end
  end

  def free_port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }

  def shell_output(command, expected = 0)
    output, status = Open3.capture2(command)
    raise Problem, "#{command}: exit #{status.exitstatus}, not #{expected}\n#{output}" unless status.exitstatus == expected
    output
  end

  def assert_path_exists(path)
    raise Problem, "there is no #{path}" unless File.exist?(path)
  end

  def assert_match(pattern, text)
    raise Problem, "#{pattern.inspect} does not match: #{text}" unless Regexp.new(pattern) =~ text
  end
end

def described(klass)
  meta = klass.meta
  expected = File.basename(FORMULA, ".rb").split("-").map(&:capitalize).join
  yield "class #{klass} in a file that wants #{expected}" unless klass.to_s == expected
  %i[desc homepage url sha256 license].each { |key| yield "no #{key}" unless meta[key] }
  desc = meta[:desc].to_s
  yield "desc is over 80 characters" if desc.size > 80
  yield "desc ends in a full stop, or begins with an article or the name" if desc =~ /\.\z|\A(an? |the |claude-peers)/i
  %i[homepage url].each { |key| yield "#{key} is no https URL: #{meta[key]}" unless meta[key].to_s.start_with?("https://") }
  yield "sha256 is not that of #{TARBALL}" unless meta[:sha256] == Digest::SHA256.file(TARBALL).hexdigest
  yield "no build dependency on rust" unless klass.deps["rust"] == :build
  %i[install caveats].each { |name| yield "no #{name} method" unless klass.method_defined?(name, false) }
  yield "no test block" unless klass.test_block
end

def installed(formula, root)
  Dir.mkdir("#{root}/source")
  Dir.chdir("#{root}/source") do
    Kernel.system("tar", "-xf", TARBALL, "--strip-components=1") or raise Problem, "tar cannot unpack #{TARBALL}"
    formula.install
  end
  pages = formula.man1.glob("*.1").map { |page| page.basename.to_s }
  raise Problem, "no man page of the program" unless pages.include?("claude-peers.1")
  words = formula.caveats
  raise Problem, "the caveats do not lead to the service" unless words.include?("claude-peers service install")
  # What is advised there must exist.
  market = words[%r{marketplace add #{HOMEBREW_PREFIX}/(\S+)}, 1] or raise Problem, "the caveats do not lead to the plugin"
  listed = JSON.parse((formula.prefix/market/".claude-plugin/marketplace.json").read)
  listed["plugins"].each { |plugin| formula.assert_path_exists formula.prefix/market/plugin["source"] }
  words.scan(/^ +claude-peers (\w+ \w+)$/) { |(order)| formula.shell_output("#{formula.bin}/claude-peers #{order} --help") }
end

begin
  load FORMULA
  klass = Formula.formula or raise Problem, "no Formula"
  found = []
  described(klass) { |problem| found << problem }
  abort found.map { |problem| "#{FORMULA}: #{problem}" }.join("\n") if found.any?

  Dir.mktmpdir("brew-") do |root|
    formula = klass.new(root)
    # Homebrew runs both with a home of their own.
    ENV["HOME"] = formula.testpath.to_s
    %w[XDG_RUNTIME_DIR XDG_STATE_HOME XDG_CONFIG_HOME].each { |name| ENV.delete(name) }
    ENV.delete_if { |name, _| name.start_with?("CLAUDE") }
    installed(formula, root)
    Dir.chdir(formula.testpath) { formula.instance_exec(&klass.test_block) }
  end
rescue Problem, StandardError, ScriptError => e
  abort "#{FORMULA}: #{e.class}: #{e.message}"
end
