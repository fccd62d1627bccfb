import numpy as np
import pytest
import yaml

from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy import label_sets as taxonomy
from semcolor_jax.taxonomy.label_sets import COCO_STUFF, PLACES365, coco_stuff_id, load_taxonomy, places365_id


def words(text: str) -> list[str]:
    return text.split()


CAMVID = words("sky building pole road pavement tree sign fence car pedestrian bicyclist void")
STANFORD = words("sky tree road grass water building mountain foreground-object")
LABELME = words("building car door pavement road sky vegetation window")
CLOTHING = words(
    """null accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs coat dress
    earrings flats glasses gloves hair hat heels hoodie intimate jacket jeans jumper leggings loafers necklace
    panties pants pumps purse ring romper sandals scarf shirt shoes shorts skin skirt sneakers socks stockings
    suit sunglasses sweater sweatshirt swimwear t-shirt tie tights top vest wallet watch wedges"""
)
PANOPTIC_MERGED = words(
    """tree fence ceiling sky-other cabinet table floor-other pavement mountain grass dirt paper food-other
    building-other rock wall-other rug"""
)
PANOPTIC_STUFF = words(
    """banner blanket bridge cardboard counter curtain door-stuff floor-wood flower fruit gravel house light
    mirror-stuff net pillow platform playingfield railroad river road roof sand sea shelf snow stairs tent
    towel wall-brick wall-stone wall-tile wall-wood water-other window-blind window-other"""
)
NEVER_ANNOTATED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
PANOPTIC_THINGS = [COCO_STUFF[i] for i in range(1, 91) if i not in NEVER_ANNOTATED]
PANOPTIC = ["unlabeled", *PANOPTIC_THINGS, *PANOPTIC_STUFF, *(f"{name}-merged" for name in PANOPTIC_MERGED)]
LABELLED = {
    "camvid": CAMVID,
    "stanford_background": STANFORD,
    "labelme_facade": LABELME,
    "clothing": CLOTHING,
    "coco_panoptic": PANOPTIC,
    "human_seg": ["background", "person"],
}
FOLDERS = {
    "sun_scenes": words("airport auditorium bamboo_forest campus desert football_field kitchen sky"),
    "intel_scenes": words("buildings forest glacier mountain sea street"),
    "caltech101": ["pagoda"],  # folders of objects, of which only this one is called like a scene
    "houses": words("bathroom bedroom house_front kitchen"),
    "sports": words(
        """badminton baseball basketball boxing chess cricket fencing football formula1 hockey ice_hockey kabaddi motogp
        shooting swimming table_tennis tennis volleyball weight_lifting wrestling"""
    ),
    "faces": words("with_mask without_mask"),
    "cars_bikes": words("bike car"),
    "pets": words("cat dog"),
    "clothing_items": words("dress hat longsleeve outwear pants shirt shoes shorts skirt t-shirt"),
    "imagenette": words(
        """cassette_player chain_saw church french_horn garbage_truck gas_pump golf_ball parachute springer tench"""
    ),
}
COUNTED = {"grocery": 44, "mini_imagenet_84": 100, "food101_64": 101}
"""Folders too many to repeat here."""


def test_coco_stuff_has_the_published_numbers():
    assert len(COCO_STUFF) == len(set(COCO_STUFF)) == 183
    published = {
        0: "unlabeled",
        1: "person",
        12: "street sign",
        17: "cat",
        26: "hat",
        45: "plate",
        47: "cup",
        90: "toothbrush",
        91: "hair brush",
        92: "banner",
        119: "flower",
        140: "pavement",
        149: "road",
        157: "sky-other",
        169: "tree",
        182: "wood",
    }
    assert {i: COCO_STUFF[i] for i in published} == published


def test_stuff_is_in_alphabetical_order():
    assert list(COCO_STUFF[92:]) == sorted(COCO_STUFF[92:])


def test_places365_has_the_published_numbers():
    assert len(PLACES365) == len(set(PLACES365)) == 365
    published = {
        0: "airfield",
        8: "apartment_building/outdoor",
        150: "forest/broadleaf",
        203: "kitchen",
        251: "pagoda",
        306: "sky",
        319: "street",
        364: "zen_garden",
    }
    assert {i: PLACES365[i] for i in published} == published


def test_ids_are_positions():
    assert [coco_stuff_id(name) for name in COCO_STUFF] == list(range(183))
    assert [places365_id(name) for name in PLACES365] == list(range(365))


def test_unknown_names_are_answered_with_close_ones():
    with pytest.raises(UserError, match=r"'sky' is no COCO-Stuff class.*sky-other"):
        coco_stuff_id("sky")
    with pytest.raises(UserError, match=r"'kichen' is no Places365 category.*kitchen"):
        places365_id("kichen")
    with pytest.raises(UserError, match="no name comes close"):
        coco_stuff_id("@@@@")


def test_the_package_brings_a_table_for_each_data_set():
    assert set(taxonomy.taxonomy_names()) == LABELLED.keys() | FOLDERS.keys() | COUNTED.keys()


@pytest.mark.parametrize("name", LABELLED)
def test_tables_cover_every_class(name):
    table = load_taxonomy(name)
    assert set(table.labels) == set(LABELLED[name])
    ids = {table.label_id(source) for source in table.labels}
    assert ids <= {*range(183), 255}
    assert len(ids) > 1


@pytest.mark.parametrize("name", FOLDERS)
def test_tables_cover_every_scene_folder(name):
    table = load_taxonomy(name)
    assert set(table.scenes) == set(FOLDERS[name])
    assert set(table.scenes.values()) <= {*PLACES365, "ignore"}


@pytest.mark.parametrize("name", COUNTED)
def test_tables_of_many_folders_are_complete(name):
    assert len(load_taxonomy(name).scenes) == COUNTED[name]


def test_mapped_scenes():
    assert load_taxonomy("houses").scenes["house_front"] == "house"
    assert load_taxonomy("sports").scenes["ice_hockey"] == "arena/hockey"
    assert load_taxonomy("mini_imagenet_84").scenes["n09246464"] == "cliff"
    assert set(load_taxonomy("faces").scenes.values()) == {"ignore"}


def test_mapped_labels():
    assert load_taxonomy("human_seg").label_id("background") == 255
    assert load_taxonomy("human_seg").label_id("person") == 1
    assert load_taxonomy("camvid").label_id("sky") == 157
    assert load_taxonomy("camvid").label_id("void") == 255
    assert load_taxonomy("labelme_facade").label_id("vegetation") == 169
    assert load_taxonomy("clothing").label_id("jeans") == 105
    assert load_taxonomy("clothing").label_id("skin") == 1
    assert load_taxonomy("coco_panoptic").label_id("tree-merged") == 169
    with pytest.raises(UserError, match=r"'skies' is no class.*sky"):
        load_taxonomy("camvid").label_id("skies")


def test_panoptic_keeps_the_names_it_shares_with_coco_stuff():
    assert len(PANOPTIC) == 1 + 133
    labels = load_taxonomy("coco_panoptic").labels
    shared = [*PANOPTIC_THINGS, *PANOPTIC_STUFF]
    assert [labels[name] for name in shared] == shared


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"labels": {"heaven": "sky-other"}, "scenes": {"spring": "hot_spring"}}))
    table = load_taxonomy(path)
    assert dict(table.labels) == {"heaven": "sky-other"}
    assert dict(table.scenes) == {"spring": "hot_spring"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: {a: sky}", "sky-other"),
        ("scenes: {a: kichen}", "kitchen"),
        ("labels: {null: ignore}", "quote names"),
        ("labels: [sky-other]", "map names to names"),
        ("classes: {a: sky-other}", "`labels` and/or `scenes`"),
        ("", "`labels` and/or `scenes`"),
        ("labels: {a: sky-other", "not valid YAML"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_taxonomy(path)
    assert str(path) in str(caught.value)


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"neither a readable YAML file nor one of: .*camvid"):
        load_taxonomy("kamvid")


def test_palette_colours_are_distinct_and_only_classes_have_one():
    palette = taxonomy.coco_stuff_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    classes = palette[:183].astype(int)
    distance = np.abs(classes[:, None] - classes[None]).max(axis=-1)
    np.fill_diagonal(distance, 255)
    assert distance.min() >= 8
    assert classes.max(axis=-1).min() >= 40
    assert not palette[183:].any()


def test_palette_has_colours_to_remember():
    palette = taxonomy.coco_stuff_palette().astype(int)
    red, green, blue = (palette[:, channel] for channel in range(3))
    for name in ("sky-other", "sea", "river", "water-other"):
        assert blue[coco_stuff_id(name)] > red[coco_stuff_id(name)]
    for name in ("tree", "grass", "bush", "leaves", "plant-other"):
        assert green[coco_stuff_id(name)] > max(red[coco_stuff_id(name)], blue[coco_stuff_id(name)])
    for name in ("dirt", "mud", "ground-other", "sand"):
        assert red[coco_stuff_id(name)] > green[coco_stuff_id(name)] > blue[coco_stuff_id(name)]
    assert red[1] > 2 * max(green[1], blue[1])
