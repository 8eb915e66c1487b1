# The program for Nix: nix-build -E '(import <nixpkgs> { }).callPackage ./packaging/nix/package.nix { }'
# The tree is the source, so a release needs no other recipe.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:

let
  manifest = (lib.importTOML ../../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.cleanSource ../..;
  # Each crate by its checksum there: no hash to keep up to date here.
  cargoLock.lockFile = ../../Cargo.lock;
  buildType = "dist";

  nativeBuildInputs = [ installShellFiles ];

  # The tests of the tree want git, tmux and minutes. This shows that what was built runs: two sessions
  # and a broker in a temporary directory, a message each way.
  checkPhase = ''
    runHook preCheck
    HOME=$TMPDIR target/*/dist/claude-peers demo
    runHook postCheck
  '';

  # A unit that starts /usr/bin/claude-peers is of no use here: `claude-peers service install` writes
  # one with the program's own path.
  postInstall = ''
    installManPage packaging/man/*.1
    # The marketplace file names the plugin by its place in this tree.
    mkdir -p $out/share/claude-peers/packaging
    cp -R .claude-plugin $out/share/claude-peers
    cp -R packaging/claude-plugin $out/share/claude-peers/packaging
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd claude-peers \
      --bash <($out/bin/claude-peers completions bash) \
      --zsh <($out/bin/claude-peers completions zsh) \
      --fish <($out/bin/claude-peers completions fish)
  '';

  meta = {
    inherit (manifest) description;
    license = lib.licenses.mit;
    mainProgram = manifest.name;
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
