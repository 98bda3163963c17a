-- The session logic of the SSM route, as somebody would write it on nginx: the content token is read, the playback is
-- found by device and token, its session is opened once and beaten, its newest token goes to the license server, and a
-- kill is remembered. It does less than sidebeat: it tells no preload from a zap, joins no twins, closes nothing, and
-- forgets all with the process.

local base64 = require "ngx.base64"
local cjson = require "cjson.safe"
local semaphore = require "ngx.semaphore"

local dict = ngx.shared.sessions
local host, port, path
local opening = {} -- by playback: who waits for the open that is under way
local KILL_MEMORY = 3600
local LEEWAY = 30
local M = {}

function M.head_end(at, number, below)
    host, port, path = at, number, below
end

-- One call to the session service: status and body, or nothing and why.
local function ask(name, token)
    local socket = ngx.socket.tcp()
    socket:settimeouts(1000, 2000, 5000)
    local ok, why = socket:connect(host, port)
    if not ok then return nil, why end
    local sent, fault = socket:send({ "POST ", path, name, " HTTP/1.1\r\nHost: ", host, "\r\nnv-tenant-id: DEMO\r\n",
        "nv-authorizations: ", token, "\r\nContent-Length: 0\r\n\r\n" })
    if not sent then return nil, fault end
    local line = socket:receive("*l")
    local status = line and tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
    if not status then
        socket:close()
        return nil, "no reply"
    end
    local length = 0
    while true do
        local header = socket:receive("*l")
        if not header then return nil, "the head was cut" end
        if header == "" then break end
        local value = header:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)")
        if value then length = tonumber(value) end
    end
    local body = ""
    if length > 0 then
        body = socket:receive(length)
        if not body then return nil, "the body was cut" end
    end
    socket:setkeepalive(60000, 64)
    return status, body
end

local function refuse(error)
    ngx.status = 403
    ngx.header["Content-Type"] = "application/problem+json"
    ngx.header["Cache-Control"] = "no-store"
    local body = '{"type":"about:blank","title":"Forbidden","status":403,"error":"' .. error .. '"}'
    ngx.header["Content-Length"] = #body
    ngx.print(body)
    return ngx.exit(ngx.HTTP_OK)
end

local function interval_of(reply)
    local beat = tonumber(reply.heartBeat or reply.heartbeat)
    return beat and beat > 0 and beat or 60
end

-- A beat, and the next one after it. A kill stays.
local function beat(premature, key, device, interval)
    if premature then return end
    local token = dict:get("t|" .. key)
    if not token or dict:get("k|" .. device) then return end
    local status, body = ask("heartbeat", token)
    if status == 200 then
        local reply = cjson.decode(body) or {}
        if reply.sessionToken then dict:set("t|" .. key, reply.sessionToken) end
        ngx.timer.at(interval, beat, key, device, interval)
    elseif status and status < 500 then
        dict:delete("t|" .. key)
        dict:set("k|" .. device, "authority", KILL_MEMORY)
    else
        ngx.timer.at(3, beat, key, device, interval)
    end
end

local function open(key, device, content)
    local waiting = opening[key]
    if waiting then
        waiting.count = waiting.count + 1
        waiting.semaphore:wait(6)
        return dict:get("t|" .. key)
    end
    waiting = { count = 0, semaphore = semaphore.new() }
    opening[key] = waiting
    local status, body = ask("setup", content)
    local token
    if status == 200 then
        local reply = cjson.decode(body) or {}
        token = reply.sessionToken
        if token then
            local interval = interval_of(reply)
            dict:set("t|" .. key, token)
            ngx.timer.at(interval, beat, key, device, interval)
            dict:incr("opens", 1, 0)
        end
    end
    opening[key] = nil
    if waiting.count > 0 then waiting.semaphore:post(waiting.count) end
    return token
end

-- What a JWT says; nothing is verified, as the head-end does that.
local function claims_of(token)
    local payload = token:match("^[^.]+%.([^.]+)%.[^.]*$")
    local json = payload and base64.decode_base64url(payload)
    return json and cjson.decode(json)
end

-- Widevine's SignedMessage: its first field says its type, and 1 asks for a license.
local function asks_for_license(body)
    return body and #body > 2 and body:byte(1) == 8 and body:byte(2) == 1
end

function M.admit()
    local headers = ngx.req.get_headers(64)
    local device, content = headers["x-device-id"], headers["nv-authorizations"]
    if type(device) ~= "string" or type(content) ~= "string" then return refuse("no_token") end
    if dict:get("k|" .. device) then
        dict:incr("refused", 1, 0)
        return refuse("killed")
    end
    ngx.req.read_body()
    if not asks_for_license(ngx.req.get_body_data()) then return end
    local claims = claims_of(content)
    if not claims then return refuse("no_token") end
    local rights = claims.contentRights and claims.contentRights[1]
    local control = rights and rights.sessionControl
    if control and control.sessionControlEnabled == false then return end
    local key = device .. "|" .. ngx.sha1_bin(content)
    local token = dict:get("t|" .. key)
    if not token then
        if claims.exp and claims.exp + LEEWAY < ngx.time() then return refuse("token_expired") end
        token = open(key, device, content)
        if not token then return refuse("session_refused") end
    end
    ngx.ctx.key = key
    ngx.req.set_header("nv-authorizations", content .. "," .. token)
end

-- Whether the reply is a license: its session counts as used.
function M.look()
    local key, piece = ngx.ctx.key, ngx.arg[1]
    if key and piece and #piece > 1 then
        ngx.ctx.key = nil
        if ngx.status == 200 and piece:byte(1) == 8 and piece:byte(2) == 2 then dict:incr("served", 1, 0) end
    end
end

local function tell(text)
    ngx.header["Content-Length"] = #text
    ngx.print(text)
end

function M.kill(device)
    dict:set("k|" .. device, "operator", KILL_MEMORY)
    tell("killed")
end

function M.counts()
    local count = function(name) return dict:get(name) or 0 end
    tell("opens " .. count("opens") .. " served " .. count("served") .. " refused " .. count("refused"))
end

return M
