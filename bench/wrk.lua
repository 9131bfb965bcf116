-- Sends the bodies of a file in turn, and looks for GraphQL errors in every answer: they come with status 200.
local bodies = {}
local position = 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = line
  end
  for line in io.lines(arguments[2]) do
    local name, value = line:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  wrk.headers["content-type"] = "application/json"
end

function request()
  position = position % #bodies + 1
  return wrk.format("POST", nil, nil, bodies[position])
end

refused = 0
example = ""
function response(status, headers, body)
  if status ~= 200 or body:find('"errors":[{', 1, true) or body:find('"errors": [{', 1, true) then
    refused = refused + 1
    example = status .. " " .. body:sub(1, 300):gsub("%s+", " ")
  end
end

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    errors = errors + thread:get("refused")
    io.write("EXAMPLE " .. thread:get("example") .. "\n")
  end
  io.write(string.format("RESULT %d %d %d %f %f %d\n", summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), errors))
end
