// Draws the boxes of an 'AnimateLCM Layout' node in ComfyUI's page. The node's text is the only truth: what is shown is
// read from it and each change is written into it, so that saving, undo and the server need to know nothing of this.

import { app } from "../../scripts/app.js"
import {
  centre,
  clamp,
  colourOf,
  cursorOf,
  dragged,
  easingOf,
  EASINGS,
  held,
  hit,
  keyframeAt,
  lastKeyframeOf,
  pictureIn,
  placeAt,
  RANGES,
  readLayout,
  spanned,
  uniqueName,
  withBox,
  withNewBox,
  without,
  withPlace,
  writeLayout,
} from "./boxes.js"

const REACH = 6 // pixels from an edge at which it is grabbed
const SLIP = 3 // pixels that the mouse may slip in a click
const DENSITY = 2 // canvas pixels per pixel, so that lines are sharp in a graph that is zoomed in
const STYLE = `
.animatelcm-layout { display: flex; flex-direction: column; gap: 5px; font: 12px sans-serif; color: var(--input-text) }
.animatelcm-layout canvas { flex: 1 1 0; min-height: 220px; width: 100%; border-radius: 6px; touch-action: none }
.lg-node .animatelcm-layout canvas { min-height: 310px } /* Nodes 2.0 shares the node among it and the text */
.animatelcm-layout canvas:focus { outline: 1px solid var(--descrip-text) }
.animatelcm-layout div { display: flex; gap: 5px; align-items: center; height: 24px; flex: none }
.animatelcm-layout :is(button, select, input:not([type=range])) { box-sizing: border-box; height: 24px; min-width: 0;
  padding: 0 6px; border: 1px solid var(--border-color); border-radius: 4px; background: var(--comfy-input-bg);
  color: inherit; font: inherit }
.animatelcm-layout button { flex: auto; cursor: pointer }
.animatelcm-layout :disabled { opacity: 0.4; cursor: default }
.animatelcm-layout :is(input[type=range], [name=name]) { flex: 1; min-width: 0 }
.animatelcm-layout [name=prompt] { flex: 2 }
.animatelcm-layout input[type=number] { width: 60px }
.animatelcm-layout output { min-width: 2em; text-align: right; font-variant-numeric: tabular-nums }`
const HELP =
  "Drag a box to move it, its edges and corners to resize it, empty ground to draw a new one. " +
  "This sets a keyframe at the frame below. Delete removes the selected box."

const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

class LayoutDrawing {
  selected = 0
  drag = null

  constructor(node, text) {
    Object.assign(this, { node, text })
    this.canvas = element("canvas", { tabIndex: 0 })
    this.addControls()
    this.element = element(
      "div",
      { className: "animatelcm-layout widget-expands" }, // in Nodes 2.0, what has this class grows with the node
      this.canvas,
      element("div", {}, this.frameField, this.frameShown, "of", this.lastField),
      element("div", {}, this.addButton, this.deleteButton, this.deleteKeyframeButton, this.easingField),
      element("div", {}, this.nameField, this.promptField),
    )
    this.canvas.onpointerdown = (event) => event.button === 0 && this.grab(event)
    this.canvas.onpointermove = (event) => this.follow(event)
    this.canvas.onlostpointercapture = () => (this.drag = null)
    this.canvas.onkeydown = (event) => this.press(event)
    forwardNavigation(this.element)
    this.observer = new ResizeObserver(() => this.refresh())
    this.observer.observe(this.canvas)
  }

  addControls() {
    const button = (textContent, title, onclick) => element("button", { type: "button", textContent, title, onclick })
    const onblur = () => this.refresh()
    const named = (name, title) => element("input", { name, placeholder: name, title, onblur })
    this.frameField = element("input", { type: "range", min: 0, title: "The frame that is shown and drawn at." })
    this.frameField.oninput = () => this.show({ frame: Number(this.frameField.value) })
    this.frameShown = element("output", { title: "The frame that is shown, counted from 0." })
    const last = { type: "number", min: 1, max: RANGES.frame[1], title: "The video's last frame, counted from 0." }
    this.lastField = element("input", { ...last, onblur })
    this.lastField.onchange = () => this.show({ last_frame: Number(this.lastField.value) })
    this.addButton = button("Add box", "Add a box at this frame.", () => this.addBox())
    this.deleteButton = button("Delete box", "Delete the selected box.", () => this.deleteBox())
    this.deleteKeyframeButton = button("Delete keyframe", "Delete the selected box's keyframe at this frame.", () =>
      this.editBox((box) => ({ ...box, keyframes: without(box.keyframes, keyframeAt(box, this.frame)) })),
    )
    const title = "How the selected box goes on from its keyframe at this frame to the next."
    this.easingField = element("select", { title }, ...Object.keys(EASINGS).map((name) => new Option(name)))
    this.easingField.onchange = () => this.setEasing(this.easingField.value)
    this.nameField = named("name", "The selected box's name.")
    this.nameField.oninput = () => this.rename(this.nameField.value.trim())
    this.promptField = named("prompt", "What is in the selected box.")
    this.promptField.oninput = () => this.editBox((box) => ({ ...box, prompt: this.promptField.value }))
  }

  get frame() {
    return clamp(Math.round(this.node.properties.frame) || 0, [0, this.last])
  }

  /** No keyframe is ever out of the slider's reach. */
  get last() {
    return clamp(Math.max(Math.round(this.node.properties.last_frame ?? 15) || 1, this.lastKeyframe), RANGES.frame)
  }

  get linked() {
    return this.node.inputs?.some((input) => input.widget?.name === this.text.name && input.link != null)
  }

  get box() {
    return this.layout?.boxes[this.selected]
  }

  /** What the page looks at is kept with the node: undo makes all nodes anew. */
  show(properties) {
    Object.assign(this.node.properties, properties)
    this.refresh()
  }

  // ---- Changing the text

  write(layout) {
    this.text.value = writeLayout(layout) // its setter calls its callback, which refreshes
    this.node.graph?.setDirtyCanvas(true)
  }

  editBox(change) {
    this.write(withBox(this.layout, this.selected, change(this.box)))
  }

  addBox() {
    const shift = (this.layout.boxes.length % 6) * 0.05 // so that two do not hide each other
    this.selected = this.layout.boxes.length
    this.write(withNewBox(this.layout, this.frame, held({ x: 0.2 + shift, y: 0.2 + shift, width: 0.35, height: 0.35 })))
  }

  deleteBox() {
    const boxes = without(this.layout.boxes, this.box)
    this.selected = Math.min(this.selected, boxes.length - 1)
    this.write({ ...this.layout, boxes })
  }

  setEasing(easing) {
    const here = keyframeAt(this.box, this.frame)
    const change = (keyframe) => (keyframe === here ? { ...keyframe, easing } : keyframe)
    this.editBox((box) => ({ ...box, keyframes: box.keyframes.map(change) }))
  }

  rename(name) {
    if (name) this.editBox((box) => ({ ...box, name: uniqueName(without(this.layout.boxes, box), name) }))
  }

  // ---- The mouse and the keyboard

  /** Where an event is in the picture; no further out than is seen, so that no box is dragged out of reach. */
  pointOf(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect() // scaled as the graph is
    const { area } = this
    const x = (clamp((event.clientX - left) / width, [0, 1]) * this.canvas.clientWidth - area.x) / area.width
    const y = (clamp((event.clientY - top) / height, [0, 1]) * this.canvas.clientHeight - area.y) / area.height
    return { x, y }
  }

  hitAt(point) {
    const places = this.layout.boxes.map((box) => placeAt(box, this.frame))
    return hit(places, this.selected, point, { x: REACH / this.area.width, y: REACH / this.area.height })
  }

  grab(event) {
    this.canvas.focus()
    if (!this.layout) return
    this.canvas.setPointerCapture(event.pointerId)
    const { layout, frame } = this
    const from = this.pointOf(event)
    const found = this.hitAt(from)
    this.selected = found?.index ?? -1
    const { box } = this
    const pull = (to) => dragged(placeAt(box, frame), found.grip, { x: to.x - from.x, y: to.y - from.y })
    this.drag = found
      ? { from, selected: found.index, to: (point) => withBox(layout, found.index, withPlace(box, frame, pull(point))) }
      : { from, selected: layout.boxes.length, to: (point) => withNewBox(layout, frame, spanned(from, point)) }
    this.refresh()
  }

  follow(event) {
    if (!this.layout) return
    const point = this.pointOf(event)
    const { drag, area } = this
    if (!drag) {
      this.canvas.style.cursor = cursorOf(this.hitAt(point)?.grip)
      return
    }
    const [across, down] = [(point.x - drag.from.x) * area.width, (point.y - drag.from.y) * area.height]
    drag.begun ||= Math.hypot(across, down) > SLIP
    if (!drag.begun) return
    this.selected = drag.selected
    this.write(drag.to(point))
  }

  press(event) {
    if (event.key !== "Delete" && event.key !== "Backspace") return
    event.stopPropagation() // or else ComfyUI deletes the node
    if (this.box && !this.drag) this.deleteBox()
  }

  // ---- Showing

  refresh() {
    this.layout = this.problem = undefined
    this.lastKeyframe = 0
    try {
      if (this.linked) this.problem = "The text comes from another node."
      else {
        this.layout = readLayout(this.text.value)
        this.lastKeyframe = lastKeyframeOf(this.layout) // once, as every box's place asks for it
      }
    } catch (error) {
      this.problem = `The text is no layout: ${error.message.slice(0, 200)}`
    }
    this.showControls()
    this.draw()
  }

  showControls() {
    const { box, frame, last, problem } = this
    const here = keyframeAt(box, frame)
    this.canvas.title = problem ?? HELP
    const fill = (field, value) => {
      if (field !== document.activeElement) field.value = value // or else it changes under one's fingers
    }
    this.frameField.max = last
    this.frameField.value = frame
    this.frameShown.value = frame
    fill(this.lastField, last)
    fill(this.nameField, box?.name ?? "")
    fill(this.promptField, box?.prompt ?? "")
    this.easingField.value = here ? easingOf(here) : ""
    this.addButton.disabled = !this.layout
    this.deleteButton.disabled = this.nameField.disabled = this.promptField.disabled = !box
    this.easingField.disabled = !here
    this.deleteKeyframeButton.disabled = !here || box.keyframes.length === 1
  }

  draw() {
    const { clientWidth, clientHeight } = this.canvas
    this.canvas.width = clientWidth * DENSITY
    this.canvas.height = clientHeight * DENSITY
    const pen = this.canvas.getContext("2d")
    pen.scale(DENSITY, DENSITY)
    pen.fillStyle = "#141414"
    pen.fillRect(0, 0, clientWidth, clientHeight)
    const area = (this.area = pictureIn(clientWidth, clientHeight))
    pen.fillStyle = "#222"
    pen.strokeStyle = "#777"
    pen.fillRect(area.x, area.y, area.width, area.height)
    pen.strokeRect(area.x, area.y, area.width, area.height)
    if (!this.layout?.boxes.length) return drawMessage(pen, this.problem ?? "Drag to draw a box.", area)
    this.layout.boxes.forEach((box, i) => {
      pen.fillStyle = pen.strokeStyle = colourOf(box, i)
      drawPath(pen, box, this.frame, area)
      drawBox(pen, box.name, onCanvas(placeAt(box, this.frame), area), i === this.selected)
    })
  }
}

const onCanvas = ({ x, y, width = 0, height = 0 }, area) => ({
  x: area.x + x * area.width,
  y: area.y + y * area.height,
  width: width * area.width,
  height: height * area.height,
})

function drawMessage(pen, message, area) {
  pen.fillStyle = "#bbb"
  pen.font = "13px sans-serif"
  pen.textAlign = "center"
  const short = message.length > 70 ? `${message.slice(0, 69)}…` : message
  pen.fillText(short, area.x + area.width / 2, area.y + area.height / 2, area.width)
}

function drawPath(pen, box, frame, area) {
  const points = box.keyframes.map((keyframe) => onCanvas(centre(keyframe), area))
  pen.globalAlpha = 0.5
  pen.lineWidth = 1
  pen.beginPath()
  points.forEach(({ x, y }) => pen.lineTo(x, y))
  pen.stroke()
  points.forEach(({ x, y }, i) => {
    pen.beginPath()
    pen.arc(x, y, box.keyframes[i].frame === frame ? 5 : 3, 0, 2 * Math.PI)
    pen.fill()
  })
}

function drawBox(pen, name, { x, y, width, height }, selected) {
  pen.globalAlpha = selected ? 0.25 : 0.12
  pen.fillRect(x, y, width, height)
  pen.globalAlpha = 1
  pen.lineWidth = selected ? 2 : 1
  pen.strokeRect(x, y, width, height)
  pen.font = `${selected ? "bold " : ""}12px sans-serif`
  pen.fillText(name, x + 6, y + 16)
  if (!selected) return
  for (const corner of [x, x + width]) for (const side of [y, y + height]) pen.fillRect(corner - 3, side - 3, 6, 6)
}

/** The wheel and the middle button go on zooming and moving the graph; everything else stays in the widget. */
function forwardNavigation(element) {
  const forwarded = { pointerdown: "processMouseDown", pointermove: "processMouseMove", pointerup: "processMouseUp" }
  for (const [type, process] of Object.entries(forwarded)) {
    element.addEventListener(type, (event) => {
      if (event.button === 1 || event.buttons & 4) app.canvas[process](event)
      else if (type !== "pointerup") event.stopPropagation() // with which a drag of the graph may end
    })
  }
  element.addEventListener("wheel", (event) => {
    event.preventDefault()
    app.canvas.processMouseWheel(event)
  })
}

/** Let an object's own method be followed by another function. */
function after(object, name, then) {
  const before = object[name]
  object[name] = function (...values) {
    const result = before?.apply(this, values)
    then()
    return result
  }
}

app.registerExtension({
  name: "animatelcm.layout",
  setup() {
    document.head.append(element("style", { textContent: STYLE }))
  },
  nodeCreated(node) {
    const text = node.widgets?.find((widget) => widget.name === "text")
    if (node.comfyClass !== "AnimateLCMLayout" || !text || !node.addDOMWidget) return
    const drawing = new LayoutDrawing(node, text)
    const options = { serialize: false, getMinHeight: () => 340 }
    const widget = node.addDOMWidget("drawing", "animatelcm_layout", drawing.element, options)
    widget.serialize = false // the option is for the prompt, this for the saved graph
    Object.assign(text.options, { getMinHeight: () => 60, getMaxHeight: () => 100 }) // the rest is for drawing
    after(text, "callback", () => drawing.refresh())
    after(node, "onConnectionsChange", () => drawing.refresh())
    after(node, "onConfigure", () => drawing.refresh())
    after(node, "onRemoved", () => drawing.observer.disconnect())
    node.setSize([Math.max(node.size[0], 480), Math.max(node.size[1], 680)])
    drawing.refresh()
  },
})
