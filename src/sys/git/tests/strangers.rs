//! Tests with untrusted content of a directory: programs that git would run, and pointers to foreign
//! repositories. Also genuine repositories that look similar.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::sys::git::tests::*;

/// A program that creates a file, and every setting that could start it.
struct Trap(PathBuf);

impl Trap {
    fn new(dir: &Path) -> Self {
        let program = dir.join("trap");
        let script = "#!/bin/sh\n: > \"$(dirname \"$0\")/sprung\"\ncat\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(program)
    }

    /// Sets the trap in a git directory for the files in `worktree`.
    fn set(&self, git_dir: &Path, worktree: &Path) {
        let trap = self.0.display();
        let config = format!(
            "[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tworktree = {worktree}\n\
             \tfsmonitor = {trap}\n\thooksPath = {hooks}\n\tpager = {trap}\n\tsshCommand = {trap}\n\
             \tgitProxy = {trap}\n\taskPass = {trap}\n\teditor = {trap}\n\tuntrackedCache = true\n\
             [extensions]\n\tpartialClone = evil\n\tworktreeConfig = true\n\
             [remote \"evil\"]\n\turl = ext::{trap} %S\n\tpromisor = true\n\tuploadpack = {trap}\n\
             [protocol]\n\tallow = always\n[protocol \"ext\"]\n\tallow = always\n\
             [filter \"x\"]\n\tclean = {trap}\n\tsmudge = {trap}\n\tprocess = {trap}\n\trequired = true\n\
             [diff]\n\texternal = {trap}\n[diff \"x\"]\n\ttextconv = {trap}\n\tcommand = {trap}\n\
             [merge \"x\"]\n\tdriver = {trap}\n[credential]\n\thelper = {trap}\n[gpg]\n\tprogram = {trap}\n\
             [log]\n\tshowSignature = true\n[pager]\n\tls-files = {trap}\n[submodule]\n\trecurse = true\n\
             [alias]\n\tls-files = \"!{trap}\"\n\tstatus = \"!{trap}\"\n\trev-parse = \"!{trap}\"\n\
             [include]\n\tpath = more\n",
            worktree = worktree.display(),
            hooks = self.0.parent().unwrap().join("hooks").display(),
        );
        std::fs::write(git_dir.join("config"), config).unwrap();
        let more = format!("[core]\n\tfsmonitor = {trap}\n");
        std::fs::write(git_dir.join("more"), &more).unwrap();
        std::fs::write(git_dir.join("config.worktree"), &more).unwrap();
        std::fs::create_dir_all(git_dir.join("info")).unwrap();
        let attributes = "* filter=x diff=x merge=x\n";
        std::fs::write(git_dir.join("info/attributes"), attributes).unwrap();
        for hooks in [self.0.parent().unwrap().join("hooks"), git_dir.join("hooks")] {
            std::fs::create_dir_all(&hooks).unwrap();
            for hook in ["post-index-change", "reference-transaction", "pre-auto-gc"] {
                let _ = std::fs::remove_file(hooks.join(hook));
                symlink(&self.0, hooks.join(hook)).unwrap();
            }
        }
    }

    fn sprung(&self) -> bool {
        self.0.with_file_name("sprung").exists()
    }
}

/// How a directory gets its pointer.
type Way<'a> = (&'a str, &'a dyn Fn(&Path));

/// Creates a repository whose files differ from its index, as after an edit.
fn edited(dir: &Path) {
    init(dir);
    commit(dir, "a");
    std::fs::write(dir.join("a"), "b").unwrap();
    changed(&dir.join("a"), 90);
}

async fn ask_all(dir: &Path) -> (Option<Repository>, Option<Vec<String>>) {
    let _ = plain().branch(dir).await;
    (plain().repository(dir).await.ok(), listed(&plain(), dir).await)
}

#[tokio::test]
async fn nothing_that_a_repository_configures_is_run() {
    let (_guard, base) = temporary();
    let trap = Trap::new(&base);
    let shop = base.join("shop");
    edited(&shop);
    trap.set(&shop.join(".git"), &shop);
    // The trap is real: an ordinary git command springs it.
    let _ = std::process::Command::new("git").arg("-C").arg(&shop).arg("status").output().unwrap();
    assert!(trap.sprung(), "git status runs the filter");
    std::fs::remove_file(base.join("sprung")).unwrap();

    let index = std::fs::read(shop.join(".git/index")).unwrap();
    let (found, files) = ask_all(&shop).await;
    assert_eq!(found.unwrap().common_dir, shop.join(".git"));
    assert_eq!(files.unwrap(), ["a"]);
    assert!(!trap.sprung());
    assert_eq!(std::fs::read(shop.join(".git/index")).unwrap(), index);
}

#[tokio::test]
async fn what_a_partial_clone_lacks_is_not_fetched_by_a_program_of_its_choice() {
    let (_guard, base) = temporary();
    let trap = Trap::new(&base);
    let shop = base.join("shop");
    init(&shop);
    for file in ["in/a", "out/b"] {
        commit(&shop, file);
    }
    git(&shop, &["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    trap.set(&shop.join(".git"), &shop);
    let config = std::fs::read_to_string(shop.join(".git/config")).unwrap();
    let sparse = format!(
        "{config}[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = true\n[index]\n\tsparse = true\n"
    );
    std::fs::write(shop.join(".git/config"), sparse).unwrap();
    // All but the current commit is missing.
    for entry in std::fs::read_dir(shop.join(".git/objects")).unwrap().flatten() {
        if entry.file_name().len() == 2 {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    ask_all(&shop).await;
    assert!(!trap.sprung());
}

#[tokio::test]
async fn a_directory_shaped_like_a_bare_repository_is_a_worktrees_content() {
    let (_guard, base) = temporary();
    let trap = Trap::new(&base);
    let shop = base.join("shop");
    edited(&shop);
    let docs = shop.join("docs");
    git(&base, &["clone", "-q", "--bare", "shop", docs.to_str().unwrap()]);
    std::fs::copy(shop.join(".git/index"), docs.join("index")).unwrap();
    trap.set(&docs, &shop);
    for dir in [docs.clone(), docs.join("refs")] {
        let (found, _) = ask_all(&dir).await;
        assert_eq!(found.unwrap().common_dir, shop.join(".git"));
    }
    let files = listed(&plain(), &shop).await.unwrap();
    assert!(files.contains(&"a".to_owned()), "{files:?}");
    assert!(!trap.sprung());

    // Outside of any worktree it is a repository by itself, whichever worktree it names.
    std::fs::rename(&docs, base.join("docs")).unwrap();
    let (found, files) = ask_all(&base.join("docs")).await;
    let found = found.unwrap();
    assert_eq!((found.top, found.common_dir), (base.join("docs"), base.join("docs")));
    assert_eq!(files.unwrap(), [""; 0]);
    assert!(!trap.sprung());
}

#[tokio::test]
async fn a_pointer_to_a_repository_that_does_not_point_back_leads_nowhere() {
    let (_guard, base) = temporary();
    let secret = base.join("secret");
    edited(&secret);
    git(&secret, &["checkout", "-q", "-b", "confidential"]);
    git(&secret, &["worktree", "add", "-q", "-b", "side", "../tree"]);
    let theirs = secret.join(".git");
    let file = |content: &str| {
        let content = content.replace("THEIRS", theirs.to_str().unwrap());
        move |dir: &Path| std::fs::write(dir.join(".git"), &content).unwrap()
    };
    let through_commondir = |dir: &Path| {
        init(dir);
        std::fs::write(dir.join(".git/commondir"), theirs.to_str().unwrap()).unwrap();
    };
    let forged_worktree = |dir: &Path| {
        let forged = dir.join("x/worktrees/y");
        std::fs::create_dir_all(&forged).unwrap();
        std::fs::write(forged.join("HEAD"), "ref: refs/heads/confidential\n").unwrap();
        std::fs::write(forged.join("commondir"), theirs.to_str().unwrap()).unwrap();
        std::fs::write(forged.join("gitdir"), dir.join(".git").to_str().unwrap()).unwrap();
        std::fs::write(dir.join(".git"), "gitdir: x/worktrees/y\n").unwrap();
    };
    let linked_worktree = |dir: &Path| {
        forged_worktree(dir);
        std::fs::remove_dir_all(dir.join("x")).unwrap();
        symlink(&theirs, dir.join("x")).unwrap();
        std::fs::write(dir.join(".git"), "gitdir: x/worktrees/tree\n").unwrap();
    };
    let clone_within = |dir: &Path| {
        git(&base, &["clone", "-q", "secret", dir.join("clone").to_str().unwrap()]);
        std::fs::write(dir.join(".git"), "gitdir: clone/.git\n").unwrap();
    };
    let ways: [Way; 8] = [
        ("a file that names another's .git", &file("gitdir: THEIRS\n")),
        ("the same from where it lies", &file("gitdir: ../secret/.git")),
        ("a file that names another's worktree", &file("gitdir: THEIRS/worktrees/tree\n")),
        ("a link", &|dir| symlink(&theirs, dir.join(".git")).unwrap()),
        ("a directory that shares what is another's", &through_commondir),
        ("a worktree that another knows nothing of", &forged_worktree),
        ("a link on the way", &linked_worktree),
        ("another that lies within", &clone_within),
    ];
    for (way, make) in ways {
        let dir = base.join("evil");
        std::fs::create_dir_all(dir.join("deep")).unwrap();
        std::fs::write(dir.join("visible"), "").unwrap();
        // Under a name that is known there, too.
        std::fs::write(dir.join("a"), "").unwrap();
        make(&dir);
        for place in [dir.clone(), dir.join("deep")] {
            let found = plain().repository(&place).await.unwrap();
            assert_eq!((found.top, found.common_dir), (dir.clone(), dir.join(".git")), "{way}");
            assert_eq!(plain().branch(&place).await, None, "{way}");
        }
        assert_eq!(plain().files(&dir).await, Files::Unknown, "{way}");
        std::fs::remove_dir_all(dir).unwrap();
    }
    let found = plain().repository(&base.join("tree")).await.unwrap();
    assert_eq!(found.common_dir, theirs, "the true worktree is one still");
}

#[tokio::test]
async fn names_and_branch_of_another_repository_do_not_come_by_links_to_its_files() {
    let (_guard, base) = temporary();
    let (secret, evil) = (base.join("secret"), base.join("evil"));
    init(&secret);
    commit(&secret, "src/merger.txt");
    git(&secret, &["checkout", "-q", "-b", "confidential"]);
    init(&evil);
    std::fs::write(evil.join("visible"), "").unwrap();
    symlink(secret.join("src"), evil.join("src")).unwrap();
    // `core.worktree` is where git would look for files that are not tracked.
    git(&evil, &["config", "core.worktree", secret.to_str().unwrap()]);
    let (found, files) = ask_all(&evil).await;
    assert_eq!(found.unwrap().top, evil);
    let files = files.unwrap();
    assert_eq!(files.iter().filter(|name| name.contains("merger")).count(), 0, "{files:?}");

    symlink(secret.join(".git/index"), evil.join(".git/index")).unwrap();
    let (_, files) = ask_all(&evil).await;
    assert_eq!(files, None);
    // The same list as a separate file: the link is not followed, as by git.
    std::fs::remove_file(evil.join(".git/index")).unwrap();
    std::fs::copy(secret.join(".git/index"), evil.join(".git/index")).unwrap();
    std::fs::remove_file(evil.join("src")).unwrap();
    symlink(&secret, evil.join("way")).unwrap();
    let (_, files) = ask_all(&evil).await;
    let files = files.unwrap_or_default();
    // The index names files that are not here, and these are left out: see `recent_files`.
    let is_here = |name: &&String| evil.join(name.as_str()).symlink_metadata().is_ok();
    assert!(!files.iter().filter(is_here).any(|name| name.contains("merger")), "{files:?}");

    std::fs::remove_file(evil.join(".git/HEAD")).unwrap();
    symlink(secret.join(".git/HEAD"), evil.join(".git/HEAD")).unwrap();
    assert_eq!(plain().branch(&evil).await, None);
    assert_eq!(plain().repository(&evil).await.ok(), None);
}

#[tokio::test]
async fn files_that_would_hold_a_reader_up_are_not_waited_for() {
    for name in ["HEAD", "config", "commondir", "config.worktree"] {
        let (_guard, base) = temporary();
        init(&base);
        let path = base.join(".git").join(name);
        let _ = std::fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let link = base.join("x");
        std::fs::create_dir(&link).unwrap();
        symlink(base.join(".git"), link.join(".git")).unwrap();
        let since = Instant::now();
        let _ = discover::find(&base, &Trust::of(&environment()));
        let _ = discover::find(&link, &Trust::of(&environment()));
        assert!(since.elapsed() < Duration::from_secs(10), "{name}");
    }
}

#[tokio::test]
async fn what_git_itself_set_up_is_found_again() {
    let (_guard, base) = temporary();
    // Worktrees with relative records, as newer versions of git write them on request.
    let app = base.join("app");
    edited(&app);
    git(&app, &["worktree", "add", "-q", "../tree"]);
    let git_dir = app.join(".git/worktrees/tree");
    std::fs::write(base.join("tree/.git"), "gitdir: ../app/.git/worktrees/tree\n").unwrap();
    std::fs::write(git_dir.join("gitdir"), "../../../../tree/.git\n").unwrap();
    let found = plain().repository(&base.join("tree")).await.unwrap();
    assert_eq!((found.top, found.common_dir), (base.join("tree"), app.join(".git")));
    assert_eq!(listed(&plain(), &base.join("tree")).await.unwrap(), ["a"]);

    // A worktree that was moved by hand is its own repository until it is repaired.
    std::fs::rename(base.join("tree"), base.join("moved")).unwrap();
    let found = plain().repository(&base.join("moved")).await.unwrap();
    assert_eq!(found.common_dir, base.join("moved/.git"));
    std::fs::write(base.join("moved/.git"), format!("gitdir: {}\n", git_dir.display())).unwrap();
    git(&app, &["worktree", "repair", "../moved"]);
    let found = plain().repository(&base.join("moved")).await.unwrap();
    assert_eq!(found.common_dir, app.join(".git"));

    // A separate git directory does not record its worktree, unless a person added it; its linked
    // worktrees are one repository all the same.
    let apart = base.join("gitdirs/apart.git");
    std::fs::create_dir(base.join("gitdirs")).unwrap();
    git(&base, &["init", "-q", "--separate-git-dir", apart.to_str().unwrap(), "apart"]);
    commit(&base.join("apart"), "deep/b");
    git(&base.join("apart"), &["worktree", "add", "-q", "../apart-2"]);
    for dir in ["apart", "apart/deep"] {
        let found = plain().repository(&base.join(dir)).await.unwrap();
        assert_eq!(found.common_dir, base.join("apart/.git"));
        assert_eq!(found.name().as_deref(), Some("apart"));
    }
    let linked = plain().repository(&base.join("apart-2")).await.unwrap();
    assert_eq!(linked.common_dir, apart);
    git(&base.join("apart"), &["config", "core.worktree", base.join("apart").to_str().unwrap()]);
    let found = plain().repository(&base.join("apart/deep")).await.unwrap();
    assert_eq!((found.top, found.common_dir), (base.join("apart"), apart));

    // A hidden bare repository with a pointer beside it, and within a git directory.
    std::fs::create_dir(base.join("wrapped")).unwrap();
    git(&base, &["clone", "-q", "--bare", "app", "wrapped/.bare"]);
    std::fs::write(base.join("wrapped/.git"), "gitdir: ./.bare\n").unwrap();
    for dir in ["wrapped", "wrapped/.bare", "wrapped/.bare/refs"] {
        let found = plain().repository(&base.join(dir)).await.unwrap();
        assert_eq!(found.common_dir, base.join("wrapped/.bare"), "{dir}");
    }
    for dir in [".git", ".git/refs", ".git/worktrees/tree"] {
        let found = plain().repository(&app.join(dir)).await.unwrap();
        assert_eq!((found.top, found.common_dir), (app.join(".git"), app.join(".git")), "{dir}");
    }
}

#[tokio::test]
async fn the_branch_is_known_whatever_form_the_repository_has() {
    let (_guard, base) = temporary();
    for (name, extra) in [
        ("files", "--ref-format=files"),
        ("tables", "--ref-format=reftable"),
        ("sha", "--object-format=sha256"),
    ] {
        let dir = base.join(name);
        std::fs::create_dir(&dir).unwrap();
        let made = std::process::Command::new("git")
            .args(["init", "-q", "-b", "feature/x", extra])
            .current_dir(&dir)
            .output()
            .unwrap();
        // An old git has no other format.
        if made.status.success() {
            std::fs::write(dir.join("a"), "").unwrap();
            assert_eq!(plain().branch(&dir).await.as_deref(), Some("feature/x"), "{name}");
            assert_eq!(listed(&plain(), &dir).await.unwrap(), ["a"], "{name}");
        }
    }
    let linked = base.join("files/.git/HEAD");
    std::fs::remove_file(&linked).unwrap();
    symlink("refs/heads/old", &linked).unwrap();
    assert_eq!(plain().branch(&base.join("files")).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn a_broken_pointer_is_named() {
    let (_guard, base) = temporary();
    for content in ["gitdir: /nowhere/at/all\n", "nonsense", "", "gitdir:", "gitdir: \n"] {
        std::fs::write(base.join(".git"), content).unwrap();
        let refused = discover::find(&base, &Trust::of(&environment())).unwrap_err();
        assert_eq!(refused, NoRepository::Broken { pointer: base.join(".git") }, "{content:?}");
    }
}
