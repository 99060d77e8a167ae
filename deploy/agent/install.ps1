# Installs postern-agent on Windows, as an administrator, and runs it as a task of SYSTEM
# from when the computer starts. Beside this file: postern-agent.exe.
#
#   .\install.ps1 -Server https://vpn.example -Ticket TICKET [-CA ca.pem]
param(
  [Parameter(Mandatory)] [string] $Server,
  [Parameter(Mandatory)] [string] $Ticket,
  [string] $CA # of the portal's certificate, where it is your own
)
$ErrorActionPreference = 'Stop'

$dir = Join-Path $env:ProgramFiles 'Postern'
New-Item -ItemType Directory -Force -Path $dir | Out-Null
Copy-Item -Force (Join-Path $PSScriptRoot 'postern-agent.exe') $dir
$exe = Join-Path $dir 'postern-agent.exe'

# The ticket goes by standard input: other users see command lines.
$enrol = @('enrol', '--server', $Server, '--ticket', '-')
if ($CA) { $enrol += '--ca', $CA }
$Ticket | & $exe @enrol
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }

$action = New-ScheduledTaskAction -Execute $exe -Argument 'run'
$trigger = New-ScheduledTaskTrigger -AtStartup
$settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit 0 -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1) `
  -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries
$who = New-ScheduledTaskPrincipal -UserId 'SYSTEM' -LogonType ServiceAccount -RunLevel Highest
Register-ScheduledTask -Force -TaskName 'Postern agent' -Action $action -Trigger $trigger -Settings $settings -Principal $who | Out-Null
Start-ScheduledTask -TaskName 'Postern agent'
