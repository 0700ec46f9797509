"""Published results: property statistics of generated molecules, and AUC top-10 on PMO tasks."""

from __future__ import annotations

Moments = dict[str, tuple[float, float]]
"""Property name -> (mean, standard deviation)."""

PUBLISHED: dict[str, dict[str, Moments]] = {
    "zinc": {
        "Data": {"logP": (2.46, 1.43), "SAS": (3.05, 0.83), "QED": (0.73, 0.14)},
        "GA": {"logP": (2.84, 1.86), "SAS": (3.80, 1.01), "QED": (0.57, 0.20)},
        "VAE": {"logP": (2.67, 1.46), "SAS": (3.18, 0.86), "QED": (0.70, 0.14)},
    },
    "qm9": {
        "Data": {"logP": (0.30, 1.00), "SAS": (4.25, 0.94), "QED": (0.48, 0.07)},
        "GA": {"logP": (0.96, 1.53), "SAS": (4.47, 1.01), "QED": (0.53, 0.13)},
        "VAE": {"logP": (0.30, 0.97), "SAS": (4.34, 0.98), "QED": (0.47, 0.08)},
    },
}
"""Gómez-Bombarelli et al. 2018, "Automatic Chemical Design Using a Data-Driven Continuous
Representation of Molecules", table 2: data set -> source -> moments."""

SOURCES = {
    "screening": "random molecules of ZINC250k; Gao et al. 2022",
    "smiles_vae_bo": "Bayesian optimisation in the latent space of a SMILES VAE; Gao et al. 2022",
    "gp_bo": "Gaussian process on fingerprints with Graph GA proposals; Gao et al. 2022",
    "graph_ga": "Graph GA; Gao et al. 2022",
    "reinvent": "REINVENT; Gao et al. 2022",
    "mol_ga": "the package mol_ga; Tripp & Hernández-Lobato 2023",
    "nf_bo": "NF-BO, Bayesian optimisation in the latent space of a normalising flow; 2025",
}
# fmt: off
PMO: dict[str, tuple[float, ...]] = {  # in the order of SOURCES
    "albuterol_similarity":     (0.483, 0.489, 0.898, 0.838, 0.882, 0.896, 0.817),
    "amlodipine_mpo":           (0.535, 0.533, 0.583, 0.661, 0.635, 0.688, 0.672),
    "celecoxib_rediscovery":    (0.351, 0.354, 0.723, 0.630, 0.713, 0.567, 0.546),
    "deco_hop":                 (0.590, 0.589, 0.629, 0.619, 0.666, 0.649, 0.675),
    "drd2":                     (0.545, 0.555, 0.923, 0.964, 0.945, 0.936, 0.875),
    "fexofenadine_mpo":         (0.666, 0.671, 0.722, 0.760, 0.784, 0.825, 0.784),
    "gsk3b":                    (0.438, 0.386, 0.851, 0.788, 0.865, 0.843, 0.754),
    "isomers_c7h8n2o2":         (0.168, 0.161, 0.680, 0.862, 0.852, 0.878, 0.748),
    "isomers_c9h10n2o2pf2cl":   (0.106, 0.084, 0.469, 0.719, 0.642, 0.865, 0.842),
    "jnk3":                     (0.238, 0.241, 0.564, 0.553, 0.783, 0.702, 0.649),
    "median1":                  (0.205, 0.202, 0.301, 0.294, 0.356, 0.257, 0.340),
    "median2":                  (0.200, 0.195, 0.297, 0.273, 0.276, 0.301, 0.260),
    "mestranol_similarity":     (0.409, 0.399, 0.627, 0.579, 0.618, 0.591, 0.607),
    "osimertinib_mpo":          (0.764, 0.771, 0.787, 0.831, 0.837, 0.844, 0.828),
    "perindopril_mpo":          (0.445, 0.442, 0.493, 0.538, 0.537, 0.547, 0.586),
    "qed":                      (0.938, 0.938, 0.937, 0.940, 0.941, 0.941, 0.941),
    "ranolazine_mpo":           (0.411, 0.457, 0.735, 0.728, 0.760, 0.804, 0.698),
    "scaffold_hop":             (0.471, 0.470, 0.548, 0.517, 0.560, 0.527, 0.629),
    "sitagliptin_mpo":          (0.022, 0.023, 0.186, 0.433, 0.021, 0.582, 0.516),
    "thiothixene_rediscovery":  (0.317, 0.317, 0.559, 0.479, 0.534, 0.519, 0.496),
    "troglitazone_rediscovery": (0.249, 0.257, 0.410, 0.390, 0.441, 0.427, 0.375),
    "valsartan_smarts":         (0.000, 0.001, 0.000, 0.000, 0.178, 0.000, 0.594),
    "zaleplon_mpo":             (0.072, 0.039, 0.221, 0.346, 0.358, 0.519, 0.504),
}
# fmt: on
