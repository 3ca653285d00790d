"""The licences that the project knows: id, class, what each asks for.

Ids are those of Hugging Face's list (docs/hub/repositories-licenses.md of huggingface/hub-docs at 008d54d, and the ids
that the Hub has added since), in lower case those of the SPDX list (spdx/license-list-data at 000daf3), and the
`license_name` of models that state `license: other`. What no line here names is unknown: `other` and `unknown` are, and
so are families of licences that allow different things (`cc`).

Terms of models that say more than "use" are read for the output of the model, since that is what a dataset holds. FLUX
[dev] lets its output be sold, but no competing model be trained on it, which is what these datasets are for: it counts
as non-commercial. The licences of Llama 2 and 3, of Stability AI's community and of Grok 2 do not let output improve
other models.
"""

from __future__ import annotations

from core.licences.classes import Ask, Licence, LicenceClass

NOTICE, BY, LIMITS = Ask.NOTICE, Ask.ATTRIBUTION, Ask.USE_LIMITS
NO_SALE, NO_RIVALS = Ask.NO_COMMERCIAL_USE, Ask.NO_RIVAL_MODELS

CC_VERSIONS = ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
_CC_TERMS = {
    "cc-by": (LicenceClass.ATTRIBUTION, ()),
    "cc-by-sa": (LicenceClass.SHARE_ALIKE, (Ask.SAME_LICENCE,)),
    "cc-by-nc": (LicenceClass.NON_COMMERCIAL, (NO_SALE,)),
    "cc-by-nc-sa": (LicenceClass.NON_COMMERCIAL, (NO_SALE, Ask.SAME_LICENCE)),
    "cc-by-nd": (LicenceClass.NO_DERIVATIVES, (Ask.NO_CHANGES,)),
    "cc-by-nc-nd": (LicenceClass.NO_DERIVATIVES, (NO_SALE, Ask.NO_CHANGES)),
}


def _rows(licence_class: LicenceClass, asks: tuple[Ask, ...], ids: str) -> list[Licence]:
    """Licences of one class that ask for the same. One with a share-alike clause accepts itself alone."""
    shares = Ask.SAME_LICENCE in asks
    return [Licence(one, licence_class, frozenset(asks), one if shares else "") for one in ids.split()]


def _creative_commons() -> list[Licence]:
    """CC's licences in all versions, and without one. A later version of one licence serves for an earlier."""
    return [
        Licence(
            f"{terms}{version}", licence_class, frozenset({NOTICE, BY, *asks}),
            terms if Ask.SAME_LICENCE in asks else "",
        )
        for terms, (licence_class, asks) in _CC_TERMS.items()
        for version in ("", *(f"-{one}" for one in CC_VERSIONS))
    ]  # fmt: skip


TABLE: dict[str, Licence] = {
    licence.id: licence
    for licence in (
        *_rows(LicenceClass.PUBLIC_DOMAIN, (), "cc0-1.0 pddl unlicense wtfpl 0bsd mit-0 public-domain"),
        *_rows(LicenceClass.PERMISSIVE, (NOTICE,),
               "afl-3.0 apache-2.0 apple-ascl artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear "
               "bsd-4-clause bsl-1.0 cdla-permissive-1.0 cdla-permissive-2.0 ecl-2.0 isc mit ncsa openmdw-1.0 "
               "openmdw-1.1 postgresql wordnet zlib"),
        *_rows(LicenceClass.ATTRIBUTION, (NOTICE, BY), "etalab-2.0 odc-by"),
        *_rows(LicenceClass.SHARE_ALIKE, (NOTICE, Ask.SAME_LICENCE),
               "agpl-3.0 cdla-sharing-1.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 "
               "lgpl-3.0 lgpl-lr lppl-1.3c mpl-2.0 ms-pl odbl ofl-1.1 osl-3.0"),
        *_rows(LicenceClass.USE_RESTRICTED, (NOTICE, LIMITS),
               "bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m c-uda creativeml-openrail-m "
               "dinov3-license gemma llama3.1 llama3.2 llama3.3 llama4 openrail openrail++ sam-license"),
        *_rows(LicenceClass.USE_RESTRICTED, (NOTICE, LIMITS, NO_RIVALS),
               "grok2-community llama2 llama3 stabilityai-ai-community"),
        *_rows(LicenceClass.NON_COMMERCIAL, (NOTICE, LIMITS, NO_SALE),
               "apple-amlr deepfloyd-if-license fair-noncommercial-research-license flux-kommunity-license h-research "
               "intel-research qwen-research sai-nc-community"),
        *_rows(LicenceClass.NON_COMMERCIAL, (NOTICE, LIMITS, NO_SALE, NO_RIVALS),
               "flux-1-dev-non-commercial-license flux-non-commercial-license"),
        *_creative_commons(),
    )
}  # fmt: skip
"""Id -> licence. `core.licences.names` finds one by any of its names."""
