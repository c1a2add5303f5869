//! The measures of two distributions against reference values of scipy and evidently.

use verdict_stats::sketch::{jensen_shannon, population_stability_index};

fn reference() -> Option<serde_json::Value> {
    let folder = std::env::var("VERDICT_TESTDATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let text = std::fs::read_to_string(format!("{folder}/drift_parity.json")).ok()?;
    Some(serde_json::from_str(&text).expect("drift_parity.json is JSON"))
}

fn counts(value: &serde_json::Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect()
}

fn check(name: &str, ours: Option<f64>, theirs: &serde_json::Value) {
    let (ours, theirs) = (ours.unwrap(), theirs.as_f64().unwrap());
    assert!((ours - theirs).abs() < 1e-12, "{name}: {ours} is not {theirs}");
}

#[test]
fn stability_index_and_divergence_equal_the_reference() {
    let Some(reference) = reference() else {
        eprintln!("skipped: no drift_parity.json");
        return;
    };
    for case in reference["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let deciles = &case["psi_ref_decile_counts"];
        let (before, after) = (counts(&deciles[0]), counts(&deciles[1]));
        let index = population_stability_index(&before, &after);
        check(name, index, &case["psi_ref_deciles_eps1e-4"]);
        let divergence = jensen_shannon(&before, &after);
        check(name, divergence, &case["jsd_nat_deciles"]);
        check(name, divergence.map(f64::sqrt), &case["js_dist_nat_deciles"]);
        let base_two = divergence.map(|nats| (nats / std::f64::consts::LN_2).sqrt());
        check(name, base_two, &case["js_dist_base2_deciles"]);
    }
    let categorical = &reference["categorical"];
    let (before, after) = (counts(&categorical["ref"]), counts(&categorical["cur"]));
    check("categorical", population_stability_index(&before, &after), &categorical["psi"]);
    let distance = jensen_shannon(&before, &after).map(f64::sqrt);
    check("categorical", distance, &categorical["js_dist_nat"]);
}
