//! Cargo.toml, as far as the rules need it.

use std::collections::BTreeMap;

/// The sections of a Cargo.toml and their lines `key = value`.
#[derive(Debug)]
pub struct Manifest(BTreeMap<String, BTreeMap<String, String>>);

impl Manifest {
    /// Reads a Cargo.toml whose values take a line each.
    #[must_use]
    pub fn parse(text: &str) -> Manifest {
        let (mut sections, mut section) = (BTreeMap::new(), String::new());
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, value)) =
                line.split_once('=').filter(|_| !line.starts_with('#'))
            {
                let of_section: &mut BTreeMap<_, _> = sections.entry(section.clone()).or_default();
                of_section.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        Manifest(sections)
    }

    /// Returns a value as it is written.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(section)?.get(key).map(String::as_str)
    }

    /// Returns the packages that a section of dependencies names.
    #[must_use]
    pub fn packages(&self, section: &str) -> Vec<&str> {
        let keys = self.0.get(section).into_iter().flat_map(BTreeMap::keys);
        keys.map(|key| key.split('.').next().unwrap_or(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_keys_and_values() {
        let text = "[lints]\nworkspace = true\n[dependencies] \nsys.workspace = true # x\n\
                    # no = 1\nnix = { workspace = true }\n[[test]]\nname = \"a\"\n";
        let manifest = Manifest::parse(text);
        assert_eq!(manifest.value("lints", "workspace"), Some("true"));
        assert_eq!(manifest.packages("dependencies"), ["nix", "sys"]);
        assert!(manifest.packages("dev-dependencies").is_empty());
        assert_eq!(manifest.value("test", "name"), Some("\"a\""));
    }
}
