# packaging/nix/package.nix as Nix reads it, with stand-ins for what Nixpkgs gives it:
# nix-instantiate --eval --strict recipe.nix
let
  nixpkgs = {
    lib = {
      importTOML = file: builtins.fromTOML (builtins.readFile file);
      cleanSource = toString;
      optionalString = condition: text: if condition then text else "";
      licenses.mit = "MIT";
      platforms = {
        linux = [ "linux" ];
        darwin = [ "darwin" ];
      };
    };
    installShellFiles = "installShellFiles";
    stdenv = {
      buildPlatform.canExecute = _: true;
      hostPlatform.system = "x86_64-linux";
    };
    rustPlatform.buildRustPackage = arguments: arguments;
    callPackage = file: overrides: import file (builtins.intersectAttrs (builtins.functionArgs (import file)) nixpkgs // overrides);
    mkShell = arguments: arguments;
  } // builtins.listToAttrs (
    map (name: { inherit name; value = name; }) [ "clippy" "git" "just" "rustfmt" "tmux" ]
  );
  flake = (import ../../../flake.nix).outputs {
    self = flake;
    nixpkgs = {
      lib.genAttrs = names: value: builtins.listToAttrs (map (name: { inherit name; value = value name; }) names);
      legacyPackages.x86_64-linux = nixpkgs;
      legacyPackages.aarch64-linux = nixpkgs;
      legacyPackages.x86_64-darwin = nixpkgs;
      legacyPackages.aarch64-darwin = nixpkgs;
    };
  };
  package = flake.packages.x86_64-linux.default;
in
# Each file that it names is there.
assert builtins.pathExists package.cargoLock.lockFile;
assert builtins.pathExists (package.src + "/Cargo.toml");
assert builtins.deepSeq flake.devShells true;
"${package.pname} ${package.version} ${package.buildType}"
