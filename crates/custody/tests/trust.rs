//! Trust: a home is made whole or not at all, secrets are closed, and only the right token opens a door.
#![allow(clippy::unwrap_used)]

use custody::trust::{Clients, Grade, Home, HomeError, InitOptions, OperatorCredential, Operators, Standing};
use custody_model::{OperatorName, PrincipalName};
use jiff::Timestamp;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn made(grade: Grade) -> (tempfile::TempDir, Home) {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::init(&temp.path().join("home"), &InitOptions { grade, ..InitOptions::default() }).unwrap().home;
    (temp, home)
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if path.is_dir() {
            walk(&path, visit);
        }
    }
}

#[test]
fn a_new_home_is_closed_to_others() {
    let (_temp, home) = made(Grade::Observe);
    assert_eq!(mode(home.root()), 0o700);
    walk(home.root(), &mut |path| assert_eq!(mode(path) & 0o077, 0, "{} is open", path.display()));
    assert_eq!(mode(&home.operator_key()), 0o600);
    assert_eq!(mode(&home.ledger_key()), 0o600);
    assert_eq!(mode(&home.daemon_key()), 0o600);
    assert!(Standing::assess(&home, Grade::Observe).holds);
}

#[test]
fn an_enforcing_home_lets_others_reach_the_socket_and_nothing_else() {
    let (_temp, home) = made(Grade::Enforcing);
    assert_eq!(mode(home.root()), 0o711);
    assert_eq!(mode(&home.run()), 0o711);
    walk(home.root(), &mut |path| assert!(path == home.run() || mode(path) & 0o077 == 0, "{} is open", path.display()));
}

#[test]
fn nothing_is_overwritten() {
    let (temp, home) = made(Grade::Observe);
    let key = fs::read(home.operator_key()).unwrap();
    let again = Home::init(home.root(), &InitOptions::default());
    assert!(matches!(again, Err(HomeError::Occupied { .. })), "{again:?}");
    assert_eq!(fs::read(home.operator_key()).unwrap(), key);

    let file = temp.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(matches!(Home::init(&file, &InitOptions::default()), Err(HomeError::Occupied { .. })));
    let link = temp.path().join("link");
    symlink(temp.path().join("elsewhere"), &link).unwrap();
    assert!(matches!(Home::init(&link, &InitOptions::default()), Err(HomeError::Occupied { .. })));
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn an_empty_directory_may_become_a_home() {
    let temp = tempfile::tempdir().unwrap();
    let made = Home::init(temp.path(), &InitOptions::default()).unwrap();
    assert_eq!(made.home, Home::open(temp.path()).unwrap());
}

#[test]
fn a_home_that_cannot_be_made_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let bad = InitOptions { operator: OperatorName::from("two\nlines"), ..InitOptions::default() };
    assert!(matches!(Home::init(&temp.path().join("home"), &bad), Err(HomeError::BadName { .. })));
    let bad = InitOptions { origin: Some("a plus+sign".into()), ..InitOptions::default() };
    assert!(matches!(Home::init(&temp.path().join("home"), &bad), Err(HomeError::BadName { .. })));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn an_incomplete_home_is_named_as_such() {
    let (temp, home) = made(Grade::Observe);
    fs::remove_file(home.operators()).unwrap();
    assert!(matches!(Home::open(home.root()), Err(HomeError::Incomplete { missing: "operators.json", .. })));
    assert!(matches!(Home::open(&temp.path().join("no")), Err(HomeError::Missing { .. })));
    assert!(matches!(Home::open(temp.path()), Err(HomeError::Missing { .. })));
}

#[test]
fn only_the_right_operator_token_opens() {
    let (_temp, home) = made(Grade::Observe);
    let credential = OperatorCredential::read(&home.operator_key()).unwrap();
    let operators = home.read_operators().unwrap();
    assert_eq!(operators.authenticate(credential.token.expose()), Some(OperatorName::from("operator")));

    let forged = OperatorCredential::generate(OperatorName::from("operator")).unwrap();
    assert_eq!(operators.authenticate(forged.token.expose()), None);
    for wrong in ["", "cok_", "Bearer", &credential.token.expose()[..20], &format!("{} ", credential.token.expose())] {
        assert_eq!(operators.authenticate(wrong), None, "{wrong}");
    }
    let stored = fs::read_to_string(home.operators()).unwrap();
    assert!(!stored.contains(credential.token.expose()) && !stored.contains(credential.identity.expose()));
    assert_eq!(operators.recipients(), [credential.identity().unwrap().to_public().to_string()]);
    assert!(!format!("{credential:?}").contains(credential.token.expose()));
}

#[test]
fn a_damaged_or_exposed_credential_is_refused_with_its_path() {
    let (_temp, home) = made(Grade::Observe);
    let path = home.operator_key();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = OperatorCredential::read(&path).unwrap_err().to_string();
    assert!(error.contains("operator.key") && error.contains("0644"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for damaged in ["", "{", "[]", r#"{"v":1}"#, r#"{"v":9,"name":"a","token":"b","identity":"c"}"#, "\u{0}"] {
        fs::write(&path, damaged).unwrap();
        let error = OperatorCredential::read(&path).unwrap_err().to_string();
        assert!(error.contains("operator.key"), "{error}");
    }
    fs::write(home.operators(), "{}").unwrap();
    assert!(Operators::read(&home.operators()).is_err());
}

#[test]
fn clients_have_their_own_keys_and_a_running_daemon_sees_changes() {
    let (_temp, home) = made(Grade::Observe);
    let path = home.clients();
    let clients = Clients::open(&path).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let first = Clients::mint(&path, PrincipalName::from("desk"), None, now).unwrap();
    let second = Clients::mint(&path, PrincipalName::from("ci"), None, now).unwrap();
    assert_eq!(clients.authenticate(first.expose()), Some(PrincipalName::from("desk")));
    assert_eq!(clients.authenticate(second.expose()), Some(PrincipalName::from("ci")));
    assert_eq!(clients.authenticate("cck_forged"), None);
    assert!(!fs::read_to_string(&path).unwrap().contains(first.expose()));
    assert_eq!(mode(&path), 0o600);

    assert_eq!(Clients::revoke(&path, |one| one.principal.as_str() == "desk").unwrap(), 1);
    assert_eq!(clients.authenticate(first.expose()), None);
    assert_eq!(clients.authenticate(second.expose()), Some(PrincipalName::from("ci")));

    fs::write(&path, "not a list").unwrap();
    assert_eq!(clients.authenticate(second.expose()), None, "a list that cannot be read authenticates nobody");
    fs::remove_file(&path).unwrap();
    assert_eq!(clients.authenticate(second.expose()), None);
}

#[test]
fn keys_minted_at_once_are_all_kept() {
    let (_temp, home) = made(Grade::Observe);
    let path = home.clients();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = &path;
            scope.spawn(move || Clients::mint(path, PrincipalName(format!("c{number}")), None, Timestamp::UNIX_EPOCH).unwrap());
        }
    });
    assert_eq!(Clients::open(&path).unwrap().records().len(), 16);
}

#[test]
fn a_declared_enforcing_grade_is_not_simply_believed() {
    let (temp, home) = made(Grade::Enforcing);
    let client = temp.path().join(".mcp.json");
    fs::write(&client, "{}").unwrap();
    Clients::mint(&home.clients(), PrincipalName::from("desk"), Some(&client), Timestamp::UNIX_EPOCH).unwrap();
    let standing = Standing::assess(&home, Grade::Enforcing);
    assert!(!standing.holds, "the client's file belongs to the account that owns the home: {standing:?}");
    assert!(standing.checks.iter().any(|check| !check.ok && check.found.contains("desk")));

    fs::set_permissions(home.operators(), fs::Permissions::from_mode(0o644)).unwrap();
    let standing = Standing::assess(&home, Grade::Observe);
    assert!(!standing.holds && standing.checks[0].found.contains("operators.json"));
}

fn leftovers(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".custody")).count()
}

#[test]
fn a_file_that_is_replaced_keeps_mode_owner_and_link() {
    use std::os::unix::fs::{MetadataExt, chown};
    let temp = tempfile::tempdir().unwrap();
    let (file, link) = (temp.path().join("file"), temp.path().join("link"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    // Only root can give a file away; others see that their own stays theirs.
    let owner = if chown(&file, Some(12345), Some(12345)).is_ok() { 12345 } else { fs::metadata(&file).unwrap().uid() };
    custody::trust::replace_keeping_mode(&link, b"new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!((mode(&file), fs::metadata(&file).unwrap().uid()), (0o640, owner));
}

#[test]
fn the_home_is_the_option_else_the_variable_else_below_the_account() {
    assert_eq!(Home::discover(Some(Path::new("/x/y"))).unwrap(), Path::new("/x/y"));
    assert!(Home::discover(Some(Path::new("relative"))).unwrap().is_absolute());
}
