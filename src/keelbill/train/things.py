"""The list of things that the embedded model can draw, and the words people use for them. Holds nothing else."""

from __future__ import annotations

# One thing a line: code point of the symbol, the name people type, synonyms. "~" marks names without an article.
EVERYDAY: dict[str, str] = {
    "animal": """
        1f408 cat, kitty
        1f415 dog, puppy
        1f98a fox
        1f43a wolf
        1f981 lion
        1f405 tiger
        1f406 leopard
        1f40e horse
        1f984 unicorn
        1f993 zebra
        1f98c deer
        1f404 cow
        1f416 pig
        1f411 sheep
        1f410 goat
        1f42a camel
        1f992 giraffe
        1f418 elephant
        1f98f rhinoceros, rhino
        1f99b hippopotamus, hippo
        1f401 mouse
        1f439 hamster
        1f407 rabbit, bunny
        1f43f squirrel, chipmunk
        1f994 hedgehog
        1f43b bear
        1f428 koala
        1f43c panda
        1f998 kangaroo
        1f412 monkey
        1f98d gorilla
        1f414 chicken, hen
        1f413 rooster
        1f424 chick, baby chick
        1f426 bird
        1f427 penguin
        1f985 eagle
        1f986 duck
        1f9a2 swan
        1f989 owl
        1f9a9 flamingo
        1f99a peacock
        1f99c parrot
        1f438 frog
        1f40a crocodile, alligator
        1f422 turtle, tortoise
        1f98e lizard
        1f40d snake
        1f409 dragon
        1f995 long-necked dinosaur, brontosaurus
        1f996 dinosaur, t-rex
        1f433 whale
        1f42c dolphin
        1f41f fish
        1f420 tropical fish
        1f988 shark
        1f419 octopus
        1f980 crab
        1f40c snail
        1f98b butterfly
        1f41c ant
        1f41d bee, honeybee
        1f41e ladybug, ladybird
        1f577 spider
    """,
    "fruit": """
        1f347 ~grapes
        1f348 melon
        1f349 watermelon
        1f34a orange, tangerine
        1f34b lemon
        1f34c banana
        1f34d pineapple
        1f96d mango
        1f34e apple
        1f350 pear
        1f351 peach
        1f352 ~cherries
        1f353 strawberry
        1fad0 ~blueberries
        1f95d kiwi, kiwi fruit
        1f965 coconut
        1f951 avocado
    """,
    "vegetable": """
        1f345 tomato
        1f346 eggplant, aubergine
        1f954 potato
        1f955 carrot
        1f33d corn cob, ear of corn
        1f336 chili pepper, hot pepper
        1fad1 bell pepper, pepper
        1f952 cucumber
        1f966 ~broccoli
        1f9c5 onion
        1f344 mushroom, toadstool
    """,
    "food": """
        1f35e ~bread, loaf of bread
        1f950 croissant
        1f968 pretzel
        1f95e ~pancakes
        1f9c0 ~cheese
        1f354 hamburger, burger
        1f35f ~french fries, fries
        1f355 pizza, slice of pizza
        1f32d hot dog
        1f96a sandwich
        1f32e taco
        1f95a egg
        1f373 fried egg, egg in a pan
        1f957 salad
        1f37f ~popcorn
        1f363 ~sushi
        1f366 ice cream cone, ice cream
        1f369 donut, doughnut
        1f36a cookie, biscuit
        1f382 birthday cake, cake
        1f370 slice of cake, piece of cake
        1f9c1 cupcake, muffin
        1f36b chocolate bar
        1f36c candy, sweet
        1f36d lollipop
        2615 coffee cup, cup of coffee
        1fad6 teapot
        1f95b glass of milk
        1f377 glass of wine, wine glass
        1f379 cocktail
        1f37a beer, mug of beer
        1f964 soda cup, soft drink
    """,
    "plant": """
        1f490 bouquet, bouquet of flowers
        1f338 cherry blossom
        1f339 rose
        1f33a hibiscus, hibiscus flower
        1f33b sunflower
        1f33c daisy, flower
        1f337 tulip
        1f331 seedling, sprout
        1fab4 potted plant, house plant
        1f332 pine tree, evergreen tree
        1f333 tree
        1f334 palm tree
        1f335 cactus
        1f340 four-leaf clover
        1f341 maple leaf
    """,
    "nature": """
        26f0 mountain
        1f30b volcano
        1f30d globe, earth
        1fab5 log, wood
        1faa8 rock, stone
        1f319 crescent moon, moon
        2600 sun
        1fa90 planet, ringed planet
        2b50 star
        2601 cloud
        1f308 rainbow
        2744 snowflake
        26c4 snowman
        1f525 fire, flame
        1f4a7 water drop
        1f30a wave, ocean wave
    """,
    "vehicle": """
        1f697 car, automobile
        1f695 taxi
        1f699 suv, jeep
        1f6fb pickup truck, pickup
        1f69a truck, delivery truck
        1f69c tractor
        1f3ce race car, racing car
        1f68c bus
        1f691 ambulance
        1f692 fire truck, fire engine
        1f693 police car
        1f682 steam train, locomotive
        1f3cd motorcycle, motorbike
        1f6f5 scooter
        1f6b2 bicycle, bike
        1f6f9 skateboard
        26f5 sailboat, sailing boat
        1f6f6 canoe
        1f6a2 ship
        2708 airplane, plane
        1f681 helicopter
        1f680 rocket, spaceship
        1f6f8 ufo, flying saucer
        1f6f0 satellite
    """,
    "building": """
        1f3e0 house, home
        1f3f0 castle
        1f3ed factory
        1f3e2 office building
        1f3eb school
        1f3e5 hospital
        1f3db temple, museum
        26ea church
        26fa tent
        1f6d6 hut
        26f2 fountain
        1f3a1 ferris wheel
        1f3aa circus tent
        1f5fd statue of liberty
    """,
    "thing": """
        2693 anchor
        1f9ed compass
        231b hourglass
        231a watch, wristwatch
        23f0 alarm clock, clock
        2602 umbrella
        1f383 jack-o'-lantern, pumpkin
        1f384 christmas tree
        1f388 balloon
        1f381 gift box, present
        1f3c6 trophy
        26bd soccer ball, football
        1f3c0 basketball
        26be baseball
        1f3be tennis racket
        1f94a boxing glove
        1fa81 kite
        1f3ae game controller, gamepad
        1f3b2 dice, die
        1f9e9 puzzle piece
        1f9f8 teddy bear
        1f3a8 paint palette
        1f9f6 ball of yarn
        1f453 ~glasses
        1f576 ~sunglasses
        1f454 shirt and tie, necktie, tie
        1f455 t-shirt, shirt
        1f456 ~jeans
        1f9e3 scarf
        1f9e6 ~socks
        1f457 dress
        1f45c handbag
        1f392 backpack
        1f45f sneaker, running shoe
        1f97e boot, hiking boot
        1f460 high heel, high-heeled shoe
        1f451 crown
        1f3a9 top hat
        1f9e2 cap, baseball cap
        1f48d ring, diamond ring
        1f48e diamond, gem
        1f514 bell
        1f4e3 megaphone
        1f3a4 microphone
        1f3a7 ~headphones
        1f4fb radio
        1f3b7 saxophone
        1f3ba trumpet
        1f3b8 guitar
        1f3bb violin
        1f941 drum
        1f4f1 phone, smartphone
        260e telephone
        1f4bb laptop
        1f50b battery
        1f4be floppy disk
        1f4fa television, tv
        1f4f7 camera
        1f50d magnifying glass
        1f56f candle
        1f4a1 light bulb
        1f526 flashlight, torch
        1f4d5 book
        1f4da ~books, stack of books
        1f4b0 money bag
        1fa99 coin
        2709 envelope, letter
        1f4e6 cardboard box, package
        270f pencil
        1f58c paintbrush
        1f58d crayon
        1f4bc briefcase
        1f4c5 calendar
        2702 ~scissors
        1f5d1 trash can
        1f512 padlock, lock
        1f511 key
        1f528 hammer
        1f6e1 shield
        1f527 wrench
        1fa9b screwdriver
        2699 gear, cog
        1f9f2 magnet
        1fa9c ladder
        1f52c microscope
        1f52d telescope
        1f6aa door
        1f6cf bed
        1fa91 chair
        1f6bd toilet
        1f6c1 bathtub
        1f9f9 broom
        1f9fa basket
        1faa3 bucket
        1f9fc ~soap, bar of soap
        1f6d2 shopping cart
        1f5ff moai statue
        1f916 robot
        1f47b ghost
        1f47d alien
        1f480 skull
        2764 heart, love heart
    """,
}

# Rarer things, in the same form.
FURTHER: dict[str, str] = {
    "animal": """
        1f435 monkey face
        1f9a7 orangutan
        1f436 dog face, puppy face
        1f429 poodle
        1f99d raccoon
        1f431 cat face, kitten
        1f42f tiger face
        1f434 horse head
        1face moose
        1facf donkey
        1f9ac bison
        1f42e cow face
        1f402 ox, bull
        1f403 water buffalo, buffalo
        1f437 pig face
        1f417 boar, wild boar
        1f40f ram
        1f42b two-humped camel
        1f999 llama, alpaca
        1f9a3 mammoth
        1f42d mouse face
        1f400 rat
        1f430 rabbit face, bunny face
        1f9ab beaver
        1f987 bat
        1f43b-200d-2744 polar bear
        1f9a5 sloth
        1f9a6 otter
        1f9a8 skunk
        1f9a1 badger
        1f43e ~paw prints
        1f983 turkey
        1f423 hatching chick
        1f54a dove, pigeon
        1f9a4 dodo
        1fab6 feather
        1fabd wing
        1f426-200d-2b1b crow, raven
        1fabf goose
        1f432 dragon head
        1f40b sperm whale
        1f9ad seal
        1f421 pufferfish, blowfish
        1f41a seashell, shell
        1fab8 coral
        1fabc jellyfish
        1f99e lobster
        1f990 shrimp, prawn
        1f991 squid
        1f9aa oyster
        1f41b caterpillar, worm
        1fab2 beetle, bug
        1f997 cricket, grasshopper
        1fab3 cockroach
        1f578 spider web, cobweb
        1f982 scorpion
        1f99f mosquito
        1fab0 fly
        1fab1 earthworm
        1f9a0 microbe, germ
    """,
    "plant": """
        1fab7 lotus flower, lotus
        1f940 wilted flower
        1fabb hyacinth, lavender
        1f33e ear of rice, wheat
        1f33f herb, sprig
        2618 shamrock, clover
        1f342 fallen leaf, autumn leaf
        1f343 green leaf, leaf
        1fab9 nest, empty nest
        1faba nest with eggs
    """,
    "fruit": """
        1f34f green apple
        1fad2 olive
    """,
    "vegetable": """
        1f96c lettuce, bok choy
        1f9c4 garlic
        1f95c peanut
        1fad8 ~beans
        1f330 chestnut
        1fada ginger root, ginger
        1fadb pea pod, peas
        1f360 sweet potato
    """,
    "food": """
        1f956 baguette
        1fad3 flatbread
        1f96f bagel
        1f9c7 waffle
        1f356 meat on the bone
        1f357 chicken leg, drumstick
        1f969 steak
        1f953 ~bacon
        1f32f burrito, wrap
        1fad4 tamale
        1f959 pita, kebab
        1f9c6 ~falafel
        1f958 pan of paella, paella
        1f372 pot of stew, stew
        1fad5 fondue
        1f963 bowl with a spoon, bowl
        1f9c8 ~butter
        1f9c2 salt shaker, salt
        1f96b tin can, canned food
        1f371 bento box, lunch box
        1f358 rice cracker
        1f359 rice ball
        1f35a bowl of rice, rice
        1f35b plate of curry, curry
        1f35c bowl of noodles, ramen
        1f35d plate of spaghetti, spaghetti
        1f362 skewer
        1f364 fried shrimp
        1f96e moon cake
        1f95f dumpling
        1f960 fortune cookie
        1f961 takeout box
        1f367 bowl of shaved ice, shaved ice
        1f368 bowl of ice cream
        1f967 pie
        1f36e pudding, flan
        1f36f honey pot, jar of honey
        1f37c baby bottle
        1f375 cup of green tea, tea cup
        1f376 sake bottle
        1f37e champagne bottle, bottle of champagne
        1f378 martini glass, martini
        1f37b ~two clinking beers, beers
        1f942 ~champagne glasses
        1f943 glass of whiskey, whiskey
        1f9cb bubble tea
        1f9c3 juice box
        1f9ca ice cube
        1f962 ~chopsticks
        1f37d plate with fork and knife, dinner plate
        1f374 ~fork and knife, cutlery
        1f944 spoon
        1f52a kitchen knife
        1fad9 glass jar, jar
        1f3fa amphora, vase
    """,
    "nature": """
        1f3d4 snowy mountain, snow-capped mountain
        1f5fb mount fuji
        1f3d6 beach with an umbrella
        1f3dd desert island, tropical island
        1f30c milky way
        1f315 full moon
        1f311 new moon
        1f31d moon with a face
        1f31e sun with a face
        1f31f glowing star
        1f320 shooting star
        26c5 sun behind a cloud
        26c8 thunderstorm
        1f327 rain cloud
        1f328 snow cloud
        1f329 lightning cloud
        1f32a tornado
        1f300 cyclone, spiral
        26a1 lightning bolt, lightning
        2604 comet
        1f9f1 brick, stack of bricks
    """,
    "vehicle": """
        1f683 railway car, train car
        1f684 high-speed train
        1f685 bullet train
        1f686 train
        1f687 subway train, metro
        1f68a tram
        1f69d monorail
        1f69e mountain train
        1f68b tram car, streetcar
        1f68d bus from the front
        1f68e trolleybus
        1f690 minibus, van
        1f694 police car from the front
        1f696 taxi from the front
        1f698 car from the front
        1f69b semi truck, lorry
        1f9bd wheelchair
        1f6fa rickshaw, tuk-tuk
        1f6f4 kick scooter
        1f6fc roller skate
        1f6a4 speedboat
        1f6f3 cruise ship
        26f4 ferry
        1f6e5 motorboat
        1f6e9 small airplane
        1fa82 parachute
        1f69f hanging train
        1f6a0 cable car
        1f6f7 sled, sledge
    """,
    "building": """
        1f3d5 campsite
        1f3df stadium
        1f3d7 construction site, crane
        1f3da abandoned house, haunted house
        1f3d8 ~houses, row of houses
        1f3e1 house with a garden
        1f3e4 post office
        1f3e6 bank
        1f3e8 hotel
        1f3ea shop, convenience store
        1f3ec department store
        1f3ef japanese castle, pagoda
        1f492 wedding chapel
        1f5fc tower, radio tower
        1f3d9 cityscape, skyline
        1f309 bridge at night, bridge
        1f3a0 carousel horse, carousel
        1f6dd slide, playground slide
        1f3a2 roller coaster
        1f488 barber pole
        1f68f bus stop sign
        26fd gas pump, fuel pump
    """,
    "thing": """
        1f5fa world map, map
        1f6e2 oil drum, barrel
        1f6de wheel, tire
        1f6a8 siren, police light
        1f6a6 traffic light
        1f6d1 stop sign
        1f6a7 road barrier
        1f6df life ring, lifebuoy
        1f4ba seat
        1f6ce service bell, hotel bell
        1f9f3 suitcase, luggage
        23f1 stopwatch
        23f2 timer, kitchen timer
        1f570 mantel clock, old clock
        1f55b round clock, wall clock
        1f321 thermometer
        1f302 closed umbrella
        26f1 beach umbrella, parasol
        1f386 ~fireworks
        1f387 sparkler
        1f9e8 firecracker
        2728 ~sparkles
        1f389 party popper
        1f38a confetti ball
        1f38f fish kite, carp streamer
        1f390 wind chime
        1f9e7 red envelope
        1f380 bow, ribbon
        1f397 ribbon loop
        1f3ab ticket
        1f396 military medal
        1f3c5 sports medal, medal
        1f947 gold medal
        1f948 silver medal
        1f949 bronze medal
        1f94e softball
        1f3d0 volleyball
        1f3c8 american football
        1f3c9 rugby ball
        1f94f frisbee
        1f3b3 ~bowling pins, bowling
        1f3d1 field hockey stick
        1f3d2 ice hockey stick, hockey stick
        1f94d lacrosse stick
        1f3d3 ping pong paddle, table tennis
        1f3f8 badminton racket
        1f94b karate suit, judo suit
        1f945 goal
        26f3 golf hole, golf flag
        26f8 ice skate
        1f3a3 fishing rod, fishing pole
        1f93f diving mask, snorkel
        1f3bd running shirt
        1f3bf ~skis
        1f94c curling stone
        1f3af dartboard, target
        1fa80 yo-yo
        1f52b water gun, water pistol
        1f3b1 billiard ball, eight ball
        1f52e crystal ball
        1fa84 magic wand
        1f579 joystick
        1f3b0 slot machine
        1fa85 pinata
        1faa9 disco ball
        1fa86 ~nesting dolls
        2660 spade
        2666 diamond shape
        2663 club
        265f chess pawn, pawn
        1f0cf playing card, joker
        1f3ad ~theater masks
        1f5bc framed picture, painting
        1f9f5 spool of thread, thread
        1faa1 sewing needle
        1faa2 knot, rope
        1f97d ~goggles
        1f97c lab coat
        1f9ba safety vest
        1f9e4 ~gloves
        1f9e5 coat
        1f458 kimono
        1f97b sari
        1fa71 swimsuit
        1fa73 ~shorts
        1f45a blouse
        1faad folding fan, hand fan
        1f45b purse, coin purse
        1f45d clutch bag
        1f6cd ~shopping bags
        1fa74 flip-flop, sandal
        1f45e dress shoe, leather shoe
        1f97f ballerina shoe, flat shoe
        1f461 high-heeled sandal
        1fa70 ~ballet shoes
        1f462 high-heeled boot
        1faae afro comb, comb
        1f452 sun hat, straw hat
        1f393 graduation cap
        1fa96 army helmet
        26d1 rescue helmet, helmet
        1f4ff bead necklace, beads
        1f484 lipstick
        1f508 speaker, loudspeaker
        1f4e2 public address speaker
        1f4ef post horn, horn
        1f3bc sheet of music
        1f3b5 music note
        1f3b6 ~music notes
        1f399 studio microphone
        1fa97 accordion
        1f3b9 piano keyboard, piano
        1fa95 banjo
        1fa98 conga drum
        1fa87 ~maracas
        1fa88 flute
        1f4de telephone receiver
        1f4df pager
        1f4e0 fax machine
        1f50c electric plug, plug
        1f5a5 desktop computer, computer
        1f5a8 printer
        2328 keyboard
        1f5b1 computer mouse
        1f5b2 trackball
        1f4bf compact disc, cd
        1f4c0 dvd
        1f9ee abacus
        1f3a5 movie camera
        1f39e film strip
        1f4fd film projector
        1f3ac clapperboard
        1f4f9 video camera
        1f4fc videotape
        1f3ee paper lantern, lantern
        1fa94 oil lamp
        1f4d6 open book
        1f4d3 notebook
        1f4dc scroll, parchment
        1f4c4 sheet of paper, document
        1f4f0 newspaper
        1f516 bookmark
        1f3f7 price tag, label
        1f4b5 dollar bill, banknote
        1f4b8 flying money
        1f4b3 credit card
        1f9fe receipt
        1f4e7 e-mail
        1f4e5 inbox tray
        1f4eb mailbox
        1f4ee post box, letterbox
        1f5f3 ballot box
        2712 pen nib
        1f58b fountain pen
        1f58a pen, ballpoint pen
        1f4dd memo, note
        1f4c1 folder, file folder
        1f5d2 notepad
        1f4c8 rising chart
        1f4c9 falling chart
        1f4ca bar chart
        1f4cb clipboard
        1f4cc pushpin
        1f4cd map pin
        1f4ce paperclip
        1f4cf ruler
        1f4d0 triangle ruler, set square
        1f5c4 filing cabinet
        1f513 open padlock
        1f5dd old key, antique key
        1fa93 axe
        26cf pickaxe
        2694 ~crossed swords
        1fa83 boomerang
        1f3f9 bow and arrow
        1fa9a saw, hand saw
        1f529 nut and bolt, bolt
        1f5dc clamp, vice
        2696 ~scales, balance
        1f517 chain link
        26d3 ~chains
        1fa9d hook
        1f9f0 toolbox
        2697 alembic
        1f9ea test tube
        1f9eb petri dish
        1f9ec dna strand, dna
        1f4e1 satellite dish
        1f489 syringe
        1fa78 drop of blood
        1f48a pill, capsule
        1fa79 bandage, plaster
        1fa7c crutch
        1fa7a stethoscope
        1f6d7 elevator
        1fa9e mirror
        1fa9f window
        1f6cb sofa, couch
        1faa0 plunger
        1f6bf shower head, shower
        1faa4 mousetrap
        1fa92 razor
        1f9f4 lotion bottle
        1f9f7 safety pin
        1f9fb roll of toilet paper, toilet paper
        1fae7 ~bubbles
        1faa5 toothbrush
        1f9fd sponge
        1f9ef fire extinguisher
        1faa6 gravestone, tombstone
        26b1 urn
        1f9ff evil eye charm
        1faa7 protest sign, placard
        1faaa id card
    """,
    "face": """
        1f600 smiley, smiling face
        1f602 face with tears of joy, laughing face
        1f609 winking face
        1f60d heart eyes face, face with heart eyes
        1f618 kissing face
        1f914 thinking face
        1f60e face with sunglasses, cool face
        1f622 crying face, sad face
        1f62d sobbing face
        1f621 angry face
        1f631 screaming face
        1f634 sleeping face
        1f973 party face
        1f920 cowboy face
        1f929 star-eyed face
        1f92f exploding head
        1f976 freezing face
        1f913 nerd face
        1f62e surprised face
        1f607 angel face, face with a halo
        1f608 devil face
        1f921 clown face, clown
        1f479 ogre
        1f47e space invader, pixel alien
        1f63a happy cat face
    """,
    "person": """
        1f476 baby
        1f466 boy
        1f467 girl
        1f468 man
        1f469 woman
        1f474 old man
        1f475 old woman
        1f9d1-200d-1f680 astronaut
        1f9d1-200d-1f692 firefighter
        1f9d1-200d-1f373 chef, cook
        1f9d1-200d-1f33e farmer
        1f9d1-200d-2708 pilot
        1f9d1-200d-1f3a8 painter, artist
        1f575 detective, spy
        1f977 ninja
        1f477 construction worker
        1f934 prince
        1f478 princess
        1f9b8 superhero
        1f9b9 supervillain
        1f9d9 wizard, mage
        1f9da fairy
        1f9db vampire
        1f9dc-200d-2640 mermaid
        1f9dd elf
        1f9de genie
        1f9df zombie
        1f9cc troll
        1f385 santa claus
        1f3c2 snowboarder
        1f3c4 surfer
        1f6b4 cyclist
    """,
    "sign": """
        1f494 broken heart
        1f498 heart with an arrow
        1f49d heart with a ribbon
        1f4a5 explosion
        1f4ac speech bubble
        1f4ad thought bubble
        26a0 warning sign
        26d4 no entry sign
        267b recycling symbol
        2705 check mark
        274c cross mark
        2753 question mark
        2757 exclamation mark
        27a1 right arrow
        2b05 left arrow
        2b06 up arrow
        2b07 down arrow
        1f534 circle, ball
        1f7e5 square
        1f536 rhombus
        1f53a triangle
    """,
}
