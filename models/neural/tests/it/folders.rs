//! Model folders: written, read, damaged.

use verdict_neural::{Model, ModelFiles, NeuralError, content_hash};

use crate::samples::all;

#[test]
fn a_folder_gives_the_same_model_again() {
    for (name, sample) in all() {
        let model = &sample.trained.model;
        let files = model.to_files();
        let again = Model::from_files(&files).unwrap();
        assert_eq!(again.manifest(), model.manifest(), "{name}");
        let rows = &sample.dataset.rows;
        assert_eq!(again.predict(rows).unwrap(), model.predict(rows).unwrap(), "{name}");
        assert_eq!(again.to_files(), files, "{name}");
        assert_eq!(again.bytes(), model.bytes());
        assert!(again.bytes() > 100);
    }
}

#[test]
fn the_content_hash_is_that_of_its_definition() {
    let files =
        ModelFiles::from([("b".to_owned(), b"two".to_vec()), ("a/x".to_owned(), b"one".to_vec())]);
    // printf 'a/x %s\nb %s\n' $(printf one|sha256sum) $(printf two|sha256sum) | sha256sum
    assert_eq!(content_hash(&files), GOLDEN);
    let mut other = files.clone();
    other.insert("c".to_owned(), vec![]);
    assert_ne!(content_hash(&other), GOLDEN);
}

const GOLDEN: &str = "faecbfeeef7407176bd9114e6b0ac1862097d96e9b302a8769776981969603e5";

fn refused(files: &ModelFiles) -> String {
    let error = Model::from_files(files).expect_err("a damaged folder is refused");
    assert!(matches!(error, NeuralError::Folder { .. }), "{error}");
    assert_eq!(error.code().as_str(), "VD0502");
    error.to_string()
}

#[test]
fn missing_and_foreign_files_are_refused() {
    for (_, sample) in all() {
        let files = sample.trained.model.to_files();
        for path in files.keys() {
            let mut damaged = files.clone();
            damaged.remove(path);
            assert!(refused(&damaged).contains(path.as_str()));
            for bytes in [&b""[..], b"{}", b"[]", b"\xff\xfe", b"12345678901234567890"] {
                damaged.insert(path.clone(), bytes.to_vec());
                refused(&damaged);
            }
        }
    }
}

#[test]
fn cut_and_flipped_weights_never_panic() {
    for (_, sample) in all() {
        let files = sample.trained.model.to_files();
        let weights = files["weights.safetensors"].clone();
        for end in (0..weights.len()).step_by(weights.len() / 20 + 1) {
            let mut damaged = files.clone();
            damaged.insert("weights.safetensors".to_owned(), weights[..end].to_vec());
            refused(&damaged);
        }
        // A flipped byte may leave a sound model; it must not leave a panic.
        for at in (0..weights.len()).step_by(weights.len() / 200 + 1).chain(0..600) {
            let mut flipped = weights.clone();
            let at = at % flipped.len();
            flipped[at] ^= 0x55;
            let mut damaged = files.clone();
            damaged.insert("weights.safetensors".to_owned(), flipped);
            if let Ok(model) = Model::from_files(&damaged) {
                let _ = model.predict(&sample.dataset.rows[..3]);
                let _ = model.explain(&sample.dataset.rows[0], 0, 5);
            }
        }
    }
}

#[test]
fn json_that_does_not_belong_to_the_weights_is_refused() {
    for (name, sample) in all() {
        let files = sample.trained.model.to_files();
        let check = |path: &str, change: &dyn Fn(&mut serde_json::Value)| {
            let mut json: serde_json::Value = serde_json::from_slice(&files[path]).unwrap();
            change(&mut json);
            let mut damaged = files.clone();
            damaged.insert(path.to_owned(), serde_json::to_vec(&json).unwrap());
            refused(&damaged);
        };
        check("model.json", &|json| json["format"] = 2.into());
        check("features.json", &|json| json["format"] = 2.into());
        check("features.json", &|json| json["extra"] = 1.into());
        check("model.json", &|json| json["temperature"] = 0.into());
        check("model.json", &|json| json["columns"] = serde_json::json!([]));
        check("features.json", &|json| json["columns"] = serde_json::json!([]));
        if name == "forest" {
            check("model.json", &|json| json["labels"] = serde_json::json!(["a", "b"]));
            continue;
        }
        check("model.json", &|json| json["labels"] = serde_json::json!(["a"]));
        check("model.json", &|json| json["labels"] = serde_json::json!(["a", "a"]));
        check("model.json", &|json| json["labels"] = serde_json::json!(["a", "b", "c"]));
        check("model.json", &|json| json["positive_label"] = "other".into());
        for key in ["features", "members", "hidden", "depth", "labels"] {
            for value in [0u64, 1 << 20, u64::MAX / 2] {
                check("features.json", &|json| json["shape"][key] = value.into());
            }
        }
        check("features.json", &|json| json["distance"]["energy_scale"] = 0.into());
    }
}

#[test]
fn oversized_headers_are_refused() {
    let files = all()[0].1.trained.model.to_files();
    for header in [u64::MAX, 1 << 40, (1 << 20) + 1] {
        let mut damaged = files.clone();
        let weights = damaged.get_mut("weights.safetensors").unwrap();
        weights[..8].copy_from_slice(&header.to_le_bytes());
        assert!(refused(&damaged).contains("header"));
    }
}
