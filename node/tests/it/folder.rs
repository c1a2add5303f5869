//! A catalogue folder and the catalogue follow each other.

use serde_json::json;
use verdict_node::folder_sync::{FolderSync, Synced};

use crate::gateway::{World, write};

fn sync(world: &World) -> FolderSync {
    FolderSync::new(
        world.folder.path().join("catalogue"),
        world.folder.path().join("memory.json"),
        world.handle.clone(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_change_set_or_none() {
    let world = World::start(|_| {}).await;
    let catalogue = world.folder.path().join("catalogue");
    let mut folder = sync(&world);
    assert_eq!(folder.settle().await.unwrap(), Synced::Unchanged);
    let before = world.handle.log().catalogue().revision();

    write(&catalogue, "lists/words.csv", "value\ncasino\n");
    let synced = folder.settle().await.unwrap();
    let Synced::Applied { revision, changes } = synced else { panic!("{synced:?}") };
    assert_eq!((revision, changes), (before + 1, vec!["+ list words".to_owned()]));
    assert_eq!(folder.settle().await.unwrap(), Synced::Unchanged);

    // A fault in one file holds back what is right in another.
    write(&catalogue, "lists/more.csv", "value\nx\n");
    let rules = std::fs::read_to_string(catalogue.join("rules/payment.yaml")).unwrap();
    write(&catalogue, "rules/payment.yaml", &rules.replace("amount > 5000", "amuont > 5000"));
    let synced = folder.settle().await.unwrap();
    let Synced::Refused(faults) = synced else { panic!("{synced:?}") };
    let fault = &faults[0];
    assert_eq!(
        (fault.file.as_deref(), fault.line),
        (Some("rules/payment.yaml"), Some(7)),
        "{fault}"
    );
    assert_eq!(world.handle.log().catalogue().revision(), before + 1);
    assert_eq!(folder.settle().await.unwrap(), Synced::Unchanged, "the same faults are told once");

    write(&catalogue, "rules/payment.yaml", &rules);
    let synced = folder.settle().await.unwrap();
    assert!(matches!(synced, Synced::Applied { .. }), "{synced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_the_api_become_files_and_stay_over_a_restart() {
    let world = World::start(|_| {}).await;
    let catalogue = world.folder.path().join("catalogue");
    let flow = std::fs::read(catalogue.join("flows/payment.yaml")).unwrap();
    let mut folder = sync(&world);
    let change = json!({"request_id": "r1", "why": "a test", "changes": [
        {"kind": "list", "name": "words", "op": "put", "body": {"entries": [{"value": "x"}]}}]});
    assert_eq!(world.post("/v1/changes", change).await.status, 200);
    // A new process knows only what was remembered on the disk.
    let synced = folder.settle().await.unwrap();
    assert_eq!(synced, Synced::Written { files: vec!["lists/words.csv".to_owned()] });
    assert!(catalogue.join("lists/words.csv").is_file());
    assert_eq!(std::fs::read(catalogue.join("flows/payment.yaml")).unwrap(), flow);
    let mut again = sync(&world);
    assert_eq!(again.settle().await.unwrap(), Synced::Unchanged);

    std::fs::remove_file(catalogue.join("lists/words.csv")).unwrap();
    let synced = again.settle().await.unwrap();
    assert!(matches!(synced, Synced::Applied { .. }), "{synced:?}");
    assert_eq!(world.get("/v1/objects/list/words").await.status, 404);
}
