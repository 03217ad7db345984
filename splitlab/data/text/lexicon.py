"""Words of the lab's own English-German sentences; written for this repository.

A line is one word with its translation. Scenes are letters: s street, p park, b beach, k kitchen,
f sports field, h home, w workshop, c stage. A word is common in its scenes and rare elsewhere.
Within a table the order is the rank of frequency.
"""

from __future__ import annotations

from typing import NamedTuple

SCENES = "sphbkfwc"


class Noun(NamedTuple):
    """An English noun; `german` in the nominative and accusative singular (no weak nouns)."""

    english: str
    gender: str
    german: str
    scenes: str


class Verb(NamedTuple):
    """English participle in -ing; German third person singular, not separable."""

    english: str
    german: str
    scenes: str


class PlacePhrase(NamedTuple):
    """Whole phrases, as the two languages choose prepositions differently."""

    english: tuple[str, ...]
    german: tuple[str, ...]
    scenes: str


def _rows(table: str) -> list[list[str]]:
    return [line.strip().split(":") for line in table.strip().splitlines()]


AGENTS = tuple(
    Noun(*row)
    for row in _rows("""
    man:m:Mann:sphbkfwc
    woman:f:Frau:sphbkfwc
    dog:m:Hund:spbh
    girl:n:Mädchen:sphbc
    child:n:Kind:phbk
    worker:m:Arbeiter:sw
    player:m:Spieler:f
    singer:m:Sänger:c
    cat:f:Katze:hk
    cook:m:Koch:k
    mother:f:Mutter:hkp
    father:m:Vater:hkp
    teacher:m:Lehrer:sh
    driver:m:Fahrer:s
    dancer:f:Tänzerin:c
    baby:n:Baby:h
    painter:m:Maler:wp
    runner:m:Läufer:fp
    swimmer:m:Schwimmer:b
    farmer:m:Bauer:w
    waiter:m:Kellner:k
    mechanic:m:Mechaniker:w
    grandmother:f:Großmutter:hk
    drummer:m:Trommler:c
    horse:n:Pferd:wf
    bird:m:Vogel:pb
    fisherman:m:Fischer:b
    goalkeeper:m:Torwart:f
    uncle:m:Onkel:hw
    aunt:f:Tante:hk
    officer:m:Polizist:s
    queen:f:Königin:c
    guitarist:m:Gitarrist:c
    surfer:m:Surfer:b
    carpenter:m:Schreiner:w
    trainer:m:Trainer:f
    """)
)

THINGS = tuple(
    Noun(*row)
    for row in _rows("""
    ball:m:Ball:fpb
    bag:f:Tasche:sph
    book:n:Buch:hp
    bicycle:n:Fahrrad:sp
    guitar:f:Gitarre:ch
    bread:n:Brot:k
    phone:n:Telefon:sh
    car:n:Auto:sw
    cup:f:Tasse:kh
    table:m:Tisch:hkw
    board:n:Brett:bw
    picture:n:Bild:hwc
    newspaper:f:Zeitung:sh
    box:f:Kiste:wk
    tool:n:Werkzeug:w
    fish:m:Fisch:bk
    net:n:Netz:fb
    apple:m:Apfel:kp
    camera:f:Kamera:sc
    cake:m:Kuchen:kh
    letter:m:Brief:hs
    drum:f:Trommel:c
    knife:n:Messer:k
    ladder:f:Leiter:w
    flower:f:Blume:ph
    boat:n:Boot:b
    stone:m:Stein:pb
    racket:m:Schläger:f
    soup:f:Suppe:k
    lamp:f:Lampe:h
    wall:f:Wand:w
    violin:f:Geige:c
    map:f:Karte:s
    pot:m:Topf:k
    kite:m:Drachen:pb
    microphone:n:Mikrofon:c
    chair:m:Stuhl:hw
    bottle:f:Flasche:kb
    goal:n:Tor:f
    engine:m:Motor:w
    shell:f:Muschel:b
    medal:f:Medaille:f
    sign:n:Schild:s
    door:f:Tür:h
    egg:n:Ei:k
    piano:n:Klavier:ch
    hammer:m:Hammer:w
    bucket:m:Eimer:bw
    clock:f:Uhr:h
    cart:m:Wagen:s
    """)
)

CLOTHES = tuple(
    Noun(*row)
    for row in _rows("""
    hat:m:Hut:spbc
    shirt:n:Hemd:sphfk
    jacket:f:Jacke:spw
    helmet:m:Helm:fsw
    dress:n:Kleid:chb
    coat:m:Mantel:s
    apron:f:Schürze:kw
    mask:f:Maske:cw
    scarf:m:Schal:sp
    skirt:m:Rock:c
    """)
)

WITH_OBJECT = tuple(
    Verb(*row)
    for row in _rows("""
    holding:hält:sphbkfwc
    carrying:trägt:spwb
    watching:betrachtet:spch
    buying:kauft:s
    reading:liest:hp
    playing:spielt:cf
    throwing:wirft:fpb
    cleaning:putzt:hkw
    repairing:repariert:w
    painting:malt:wp
    cutting:schneidet:kw
    pushing:schiebt:sw
    catching:fängt:fb
    cooking:kocht:k
    selling:verkauft:s
    lifting:hebt:wf
    finding:findet:pb
    eating:isst:kp
    building:baut:wb
    photographing:fotografiert:sc
    kicking:tritt:f
    opening:öffnet:hk
    pulling:zieht:wb
    drawing:zeichnet:hp
    washing:wäscht:kw
    hiding:versteckt:hp
    """)
)

WITHOUT_OBJECT = tuple(
    Verb(*row)
    for row in _rows("""
    standing:steht:sphbkfwc
    sitting:sitzt:sphbc
    waiting:wartet:sf
    running:rennt:fpb
    sleeping:schläft:hb
    talking:redet:shk
    working:arbeitet:wk
    singing:singt:c
    dancing:tanzt:c
    smiling:lächelt:chp
    jumping:springt:fpb
    swimming:schwimmt:b
    playing:spielt:pfh
    shouting:schreit:fs
    resting:ruht:pbh
    kneeling:kniet:wf
    laughing:lacht:chk
    training:trainiert:f
    crying:weint:h
    smoking:raucht:s
    """)
)

PLACES = tuple(
    PlacePhrase(tuple(row[0].split()), tuple(row[1].split()), row[2])
    for row in _rows("""
    on the street:auf der Straße:s
    in the park:im Park:p
    on the beach:am Strand:b
    in the kitchen:in der Küche:k
    on the stage:auf der Bühne:c
    in the house:im Haus:h
    on the field:auf dem Feld:f
    in the garden:im Garten:ph
    at the market:auf dem Markt:s
    in the workshop:in der Werkstatt:w
    in the water:im Wasser:b
    on the bench:auf der Bank:p
    near the river:neben dem Fluss:pb
    in front of the shop:vor dem Laden:s
    under the tree:unter dem Baum:p
    in the stadium:im Stadion:f
    on the sofa:auf dem Sofa:h
    on the roof:auf dem Dach:w
    behind the bar:hinter der Theke:k
    at the station:am Bahnhof:s
    on the floor:auf dem Boden:hw
    near the window:neben dem Fenster:hk
    in the theatre:im Theater:c
    in the barn:in der Scheune:w
    in the snow:im Schnee:sf
    on the bridge:auf der Brücke:s
    """)
)

TIMES = tuple(
    (row[0], row[1])
    for row in _rows("""
    today:heute
    now:jetzt
    often:oft
    again:wieder
    tonight:abends
    outside:draußen
    alone:allein
    yesterday:gestern
    slowly:langsam
    """)
)

OF_AGENTS = tuple(
    (row[0], row[1])
    for row in _rows("""
    young:jung
    old:alt
    small:klein
    tall:groß
    happy:fröhlich
    tired:müd
    blond:blond
    quiet:ruhig
    strong:stark
    busy:fleißig
    proud:stolz
    thin:dünn
    """)
)

OF_THINGS = tuple(
    (row[0], row[1])
    for row in _rows("""
    red:rot
    large:groß
    blue:blau
    small:klein
    white:weiß
    black:schwarz
    green:grün
    new:neu
    yellow:gelb
    old:alt
    heavy:schwer
    brown:braun
    broken:kaputt
    clean:sauber
    wooden:hölzern
    """)
)
