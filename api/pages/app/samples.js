// What models know, and pictures to try them with: shapes are drawn here, emoji are files, since fonts differ.

import { el } from "./dom.js";

const COLOURS = {
  red: "rgb(215 30 35)", green: "rgb(30 150 50)", blue: "rgb(35 70 215)", yellow: "rgb(250 225 40)",
  purple: "rgb(130 45 165)", orange: "rgb(250 135 15)", white: "rgb(247 247 247)", black: "rgb(12 12 12)",
};
const KINDS = ["circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond"];

const SHAPE_SCENES = [
  { name: "Star and heart", ground: "#8f9f96", prompts: ["star", "red heart"],
    shapes: [["yellow", "star", 190, 190, 130], ["red", "heart", 455, 300, 120]] },
  { name: "Circles", ground: "#c3b8a6", prompts: ["circle", "blue circle", "ring"],
    shapes: [["blue", "circle", 170, 170, 105], ["purple", "circle", 450, 150, 95], ["green", "ring", 330, 355, 100]] },
  { name: "Square and triangle", ground: "#5d6b85", prompts: ["orange square", "triangle"],
    shapes: [["orange", "square", 180, 270, 130], ["white", "triangle", 460, 220, 130]] },
];
const EMOJI_SCENES = [
  { name: "Cats and a frog", file: "emoji-cats.jpg", prompts: ["cat", "frog", "banana"] },
  { name: "Tigers and pizza", file: "emoji-tigers.jpg", prompts: ["pizza", "tiger"] },
  { name: "Cars and a bus", file: "emoji-cars.jpg", prompts: ["car", "bus", "flamingo"] },
];
const EMOJI = (
  "ambulance anchor apple avocado backpack balloon banana basketball bear bee bell bomb book boot bread " +
  "broccoli bus butterfly cactus cake camel camera car carrot castle cat chair cheese cherries chocolate cloud " +
  "coffee cookie corn cow crab crocodile croissant crown dice dog dolphin doughnut dress drum duck eggplant " +
  "elephant fish flamingo fox fries frog ghost gift giraffe gorilla grapes guitar hamburger hammer hat hedgehog " +
  "horse house jeans kangaroo key koala ladybug laptop lemon lion lock lollipop magnet monkey moon mushroom " +
  "octopus owl panda parrot peach pear penguin pig pineapple pizza popcorn pretzel rabbit robot rocket rooster " +
  "rose sailboat sandwich saxophone scooter shark sheep shirt snail snake snowman strawberry sun sunflower taco " +
  "television tent tiger tomato tractor train tree trophy truck trumpet tulip turtle umbrella unicorn violin " +
  "watermelon whale zebra"
).split(" ");
const SUGGESTED = ["person", "cat ; dog", "car", "left wheel", "bottle", "tree"];

const OURS = new Map(Object.entries({
  demo: {
    text: `This is the demo model. It knows drawn shapes only: ${KINDS.join(", ")}; in ${Object.keys(COLOURS).join(", ")}. It does not know photographs.`,
    prompts: ["red circle", "star", "blue square"], scenes: SHAPE_SCENES,
  },
  emoji: {
    text: `This is the emoji model. It knows ${EMOJI.length} things, as emoji only. It does not know photographs.`,
    names: EMOJI, prompts: ["cat", "pizza", "guitar"], scenes: EMOJI_SCENES,
  },
}));

/** What a model knows, in words; `names` of all things if there are many; prompts to suggest; scenes to try. */
export function knowledgeOf({ id, about }) {
  return OURS.get(id) ?? { text: `${about} It knows things by their everyday names.`, prompts: SUGGESTED, scenes: [] };
}

/** An element that shows a scene. */
export function previewOf(scene) {
  return scene.file ? el("img", { src: addressOf(scene), alt: "" }) : drawn(scene, 384);
}

/** The picture of a scene. */
export async function blobOf(scene) {
  if (scene.file) return (await fetch(addressOf(scene))).blob();
  return new Promise(resolve => drawn(scene, 640).toBlob(resolve, "image/png"));
}

const addressOf = ({ file }) => new URL(file, import.meta.url).href;

/** Draw a scene at this width. All scenes are 4:3. */
function drawn({ ground, shapes }, width) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height: width * 0.75 });
  const context = canvas.getContext("2d");
  context.scale(width / 640, width / 640);
  context.fillStyle = ground;
  context.fillRect(0, 0, 640, 480);
  for (const [colour, kind, x, y, radius] of shapes) {
    context.fillStyle = COLOURS[colour];
    context.fill(outlineOf(kind, x, y, radius), "evenodd");
  }
  return canvas;
}

function outlineOf(kind, x, y, radius) {
  const path = new Path2D();
  for (const outline of OUTLINES[kind]()) {
    outline.forEach(([u, v], index) => path[index ? "lineTo" : "moveTo"](x + u * radius, y + v * radius));
    path.closePath();
  }
  return path;
}

/** Corners at these radii, clockwise from the top; `turn` in degrees. */
function polar(radii, turn = 0) {
  return radii.map((radius, index) => {
    const angle = (2 * Math.PI * index) / radii.length + (turn * Math.PI) / 180;
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
}

const round = radius => polar(Array(72).fill(radius));

/** As in scenes/outlines.py: around the origin, within radius 1, y down. */
const OUTLINES = {
  circle: () => [round(1)],
  ring: () => [round(1), round(0.55)],
  square: () => [polar([1, 1, 1, 1], 45)],
  triangle: () => [polar([1, 1, 1])],
  star: () => [polar([1, 0.42, 1, 0.42, 1, 0.42, 1, 0.42, 1, 0.42])],
  heart: () => [Array.from({ length: 60 }, (_, index) => {
    const t = (2 * Math.PI * index) / 60;
    const y = -(13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t));
    return [(16 * Math.sin(t) ** 3) / 17, (y - 2.5) / 17];
  })],
};
