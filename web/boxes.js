// Layouts in the page, as values: reading and writing them, where boxes are at a frame, and what the mouse grabs of them.

// As in layout/: the server refuses more boxes and longer texts, too
const MOST_BOXES = 1000
const LONGEST_TEXT = 1_000_000 // characters
export const RANGES = { frame: [0, 4095], x: [-2, 3], y: [-2, 3], width: [0.01, 2], height: [0.01, 2] }
export const EASINGS = {
  linear: (time) => time,
  ease: (time) => time * time * (3 - 2 * time),
  "ease in": (time) => time * time,
  "ease out": (time) => time * (2 - time),
  hold: () => 0,
}
const GOLDEN = 0.618034

const SIDES = ["x", "y", "width", "height"]
const AXES = [["x", "width"], ["y", "height"]]
const MARGIN = 0.14 // around the picture, as a share of it: things come in from outside
const WIDEST = 16 / 9 // of the picture, which otherwise takes the node's shape; the tallest is the inverse

export const clamp = (value, [least, most]) => Math.min(most, Math.max(least, value))

// ---- Layouts, as they stand in the text

/** The layout that a text describes, each box's keyframes in order. What is wrong with it is an Error's message. */
export function readLayout(text) {
  expect(text.length <= LONGEST_TEXT, `it has more than ${LONGEST_TEXT} characters`)
  const layout = JSON.parse(text)
  expect(Array.isArray(layout?.boxes), 'expected {"boxes": [...]}')
  expect(layout.boxes.length <= MOST_BOXES, `it has ${layout.boxes.length} boxes, more than ${MOST_BOXES}`)
  return { ...layout, boxes: layout.boxes.map(readBox) }
}

function readBox(box) {
  expect(typeof box?.name === "string", "a box has no name")
  for (const name of ["prompt", "colour"]) {
    expect(["string", "undefined"].includes(typeof box[name]), `${name} of '${box.name}' is no text`)
  }
  expect(Array.isArray(box.keyframes) && box.keyframes.length, `'${box.name}' has no keyframes`)
  for (const keyframe of box.keyframes) {
    for (const [name, [least, most]] of Object.entries(RANGES)) {
      const value = keyframe?.[name]
      const fits = typeof value === "number" && value >= least && value <= most
      expect(fits, `${name} of '${box.name}' is ${value}, not ${least} to ${most}`)
    }
    expect(Object.hasOwn(EASINGS, easingOf(keyframe)), `there is no easing '${keyframe.easing}'`)
  }
  return { ...box, keyframes: [...box.keyframes].sort((one, other) => one.frame - other.frame) }
}

function expect(fine, message) {
  if (!fine) throw new Error(message)
}

/** The text of a layout, one keyframe per line. */
export function writeLayout(layout) {
  return object(layout, { boxes: list("", (box) => object(box, { keyframes: list("  ", inline) })) })
}

function object(value, writers = {}) {
  const members = Object.entries(value)
  return `{${members.map(([key, part]) => `${JSON.stringify(key)}: ${(writers[key] ?? inline)(part)}`).join(", ")}}`
}

const list = (indent, write) => (parts) =>
  parts.length ? `[\n${parts.map((part) => `${indent}  ${write(part)}`).join(",\n")}\n${indent}]` : "[]"

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`
  return value && typeof value === "object" ? object(value) : JSON.stringify(value)
}

export const easingOf = (keyframe) => keyframe.easing ?? "linear"
export const colourOf = (box, index) => box.colour || `hsl(${((index * GOLDEN) % 1) * 360} 100% 62.5%)` // HSV 0.75, 1
export const lastKeyframeOf = (layout) =>
  layout.boxes.reduce((last, { keyframes }) => Math.max(last, keyframes.at(-1).frame), 0)
export const keyframeAt = (box, frame) => box?.keyframes.find((keyframe) => keyframe.frame === frame)
export const centre = ({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 })

/** Where a box is at a frame. */
export function placeAt({ keyframes }, frame) {
  const start = keyframes.findLast((keyframe) => keyframe.frame <= frame) ?? keyframes[0]
  const end = keyframes.find((keyframe) => keyframe.frame > frame) ?? start
  const share = EASINGS[easingOf(start)](clamp((frame - start.frame) / (end.frame - start.frame || 1), [0, 1]))
  return Object.fromEntries(SIDES.map((side) => [side, start[side] + share * (end[side] - start[side])]))
}

/** The box with a place at a frame: in its keyframe there, or in a new one that goes on as the one before. */
export function withPlace(box, frame, place) {
  const here = keyframeAt(box, frame)
  const before = box.keyframes.findLast((keyframe) => keyframe.frame < frame)
  const fresh = { frame, ...place, ...(before?.easing && { easing: before.easing }) }
  const others = box.keyframes.filter((keyframe) => keyframe !== here)
  return readBox({ ...box, keyframes: [...others, here ? { ...here, ...place } : fresh] })
}

export const without = (parts, part) => parts.filter((other) => other !== part)
export const withBox = (layout, index, box) => ({ ...layout, boxes: layout.boxes.with(index, box) })
export const withNewBox = (layout, frame, place) => {
  const box = { name: uniqueName(layout.boxes, "thing"), prompt: "", keyframes: [{ frame, ...place }] }
  return { ...layout, boxes: [...layout.boxes, box] }
}

export function uniqueName(boxes, name) {
  const taken = new Set(boxes.map((box) => box.name))
  let unique = name
  for (let i = 2; taken.has(unique); i++) unique = `${name} ${i}`
  return unique
}

// ---- The mouse's view of a place: points and sizes are shares of the picture

/** What a point grabs of a box, per axis: -1 the lower edge, 1 the upper one, 0 what is between; or nothing. */
function gripOf(place, point, reach) {
  const grip = {}
  for (const [axis, size] of AXES) {
    const [from, length] = [point[axis] - place[axis], place[size]]
    if (from < -reach[axis] || from > length + reach[axis]) return undefined
    const inner = Math.min(reach[axis], length / 4) // leaves the middle of a small box for moving it
    grip[axis] = from < inner ? -1 : from > length - inner ? 1 : 0
  }
  return grip
}

/** A point's box and grip: the selected one if it is by its edge, or else the smallest, which others may cover. */
export function hit(places, selected, point, reach) {
  const all = places.map((place, index) => ({ index, grip: gripOf(place, point, reach) }))
  const hits = all.filter(({ grip }) => grip).reverse() // the front one first
  const area = ({ index }) => places[index].width * places[index].height
  const [smallest] = [...hits].sort((one, other) => area(one) - area(other))
  return hits.find(({ index, grip }) => index === selected && (grip.x || grip.y)) ?? smallest
}

/** A place after its grip was pulled by a distance, held inside of the ranges. */
export function dragged(place, grip, by) {
  if (!grip.x && !grip.y) return held({ ...place, x: place.x + by.x, y: place.y + by.y })
  const resized = { ...place }
  for (const [axis, size] of AXES) {
    resized[size] = clamp(place[size] + grip[axis] * by[axis], RANGES[size])
    if (grip[axis] < 0) resized[axis] += place[size] - resized[size]
  }
  return held(resized)
}

/** The place between two corners. */
export const spanned = (one, other) =>
  held({
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  })

export const held = (place) =>
  Object.fromEntries(SIDES.map((side) => [side, Math.round(clamp(place[side], RANGES[side]) * 1000) / 1000]))

export function cursorOf(grip) {
  if (!grip) return "crosshair"
  if (grip.x && grip.y) return grip.x === grip.y ? "nwse-resize" : "nesw-resize"
  return grip.x ? "ew-resize" : grip.y ? "ns-resize" : "move"
}

/** The picture in the middle of a canvas with its margin, in pixels. */
export function pictureIn(width, height) {
  const [across, down] = [width / (1 + 2 * MARGIN), height / (1 + 2 * MARGIN)]
  const picture = { width: Math.min(across, down * WIDEST), height: Math.min(down, across * WIDEST) }
  return { x: (width - picture.width) / 2, y: (height - picture.height) / 2, ...picture }
}
